//! Which functions and lines are hot: for how much of the time each was innermost, and on the stack at all.

use std::collections::HashMap;

use super::CallTree;
use crate::sample::{Code, FrameId, StackId};

/// For how much of the time something of one name was seen: slots of the clock, for which its samples stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hot {
    /// What it is called.
    pub name: String,
    /// Those in which it was innermost.
    pub own: u64,
    /// Those in which it was on the stack, however often.
    pub total: u64,
}

/// Everything that `name` tells apart, the hottest first.
pub fn hottest(tree: &CallTree, name: impl Fn(&Code, Option<u32>) -> String) -> Vec<Hot> {
    let (mut ids, mut hot) = (HashMap::new(), Vec::new());
    let mut named = |name: String| {
        *ids.entry(name).or_insert_with_key(|name| {
            hot.push(Hot { name: name.clone(), own: 0, total: 0 });
            hot.len() - 1
        })
    };
    let of_frame: Vec<usize> = (tree.frames().iter())
        .map(|frame| match tree.code(frame.code) {
            Some(code) => named(name(code, frame.line)),
            None => named("unknown".into()),
        })
        .collect();
    let mut counts: HashMap<StackId, u64> = HashMap::new();
    for count in tree.counts() {
        *counts.entry(count.stack).or_default() += count.slots;
    }
    // The last stack that counted for it, so that it counts once.
    let mut counted = vec![None; hot.len()];
    for (stack, slots) in counts {
        let mut at = Some(stack);
        while let Some((frame, caller)) = at.and_then(|stack| tree.stack(stack)) {
            if let Some(&id) = of_frame.get(FrameId::index(frame)) {
                hot[id].own += if at == Some(stack) { slots } else { 0 };
                if counted[id] != Some(stack) {
                    counted[id] = Some(stack);
                    hot[id].total += slots;
                }
            }
            at = caller;
        }
    }
    hot.retain(|hot| hot.total > 0);
    hot.sort_by(|a, b| (b.own, b.total, &a.name).cmp(&(a.own, a.total, &b.name)));
    hot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::folded::tests::tree;

    #[test]
    fn a_function_that_calls_itself_counts_once() {
        let tree = tree(&[(0, &[("f", 1), ("f", 2), ("g", 3)], 3), (0, &[("f", 1), ("f", 2)], 2), (1, &[("g", 3)], 1)]);
        let hot: Vec<_> = hottest(&tree, |code, _| code.function.to_string());
        let hot: Vec<_> = hot.iter().map(|hot| (hot.name.as_str(), hot.own, hot.total)).collect();
        assert_eq!(hot, [("g", 4, 4), ("f", 2, 5)]);
    }

    #[test]
    fn lines_are_told_apart_by_name() {
        let tree = tree(&[(0, &[("f", 8)], 3), (0, &[("f", 9)], 4)]);
        let lines = hottest(&tree, |code, line| format!("{}:{}", code.function, line.unwrap_or(0)));
        assert_eq!(lines.iter().map(|hot| (hot.name.as_str(), hot.own)).collect::<Vec<_>>(), [("f:9", 4), ("f:8", 3)]);
    }
}
