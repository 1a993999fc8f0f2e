//! The part of the tree of stacks that was seen, with its counts: what functions, callers, lines and branches are added up
//! from. Everything here takes time for each node once, however deep the stacks are.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};

use super::counts::{Counts, Mode};
use super::keys::{KeyId, Keys, Level};
use crate::aggregate::CallTree;
use crate::sample::{FrameId, StackId};

/// Stacks and their callers. A caller comes before what it calls.
#[derive(Clone, Debug, Default)]
pub struct Subtree {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    frame: FrameId,
    caller: Option<usize>,
    own: Counts,
    total: Counts,
    /// The first that it calls, and the next that its caller calls.
    first: Option<usize>,
    next: Option<usize>,
}

/// Something that frames are put together by, and how often it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What.
    pub key: KeyId,
    /// Innermost.
    pub own: Counts,
    /// Anywhere on the stack.
    pub total: Counts,
}

/// One row of a call tree that unfolds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What.
    pub key: KeyId,
    /// How many callers it has.
    pub depth: usize,
    /// Innermost.
    pub own: Counts,
    /// With what it calls.
    pub total: Counts,
    /// Stands for the path from the outermost caller.
    pub path: u64,
    /// Whether what it calls is shown.
    pub fold: Fold,
}

/// Whether what a branch calls is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// It calls nothing.
    Leaf,
    /// It is not.
    Closed,
    /// It is.
    Open,
}

/// One function (or line, file, module) in depth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Innermost.
    pub own: Counts,
    /// Anywhere on the stack.
    pub total: Counts,
    /// Who calls it; `None` if nobody does.
    pub callers: Vec<(Option<KeyId>, Counts)>,
    /// What it calls.
    pub callees: Vec<(KeyId, Counts)>,
    /// By its lines: innermost, and anywhere.
    pub lines: BTreeMap<u32, (Counts, Counts)>,
}

enum Step {
    Enter,
    Leave,
}

impl Subtree {
    /// The stacks in `counts`, and all that call them.
    pub fn new(tree: &CallTree, counts: &FxHashMap<StackId, Counts>) -> Subtree {
        let Some(last) = counts.keys().max() else { return Subtree::default() };
        let mut is_in = vec![false; last.index() + 1];
        for &stack in counts.keys() {
            let mut next = Some(stack);
            while let Some(stack) = next.filter(|stack| !is_in[stack.index()]) {
                is_in[stack.index()] = true;
                next = tree.stack(stack).and_then(|(_, caller)| caller);
            }
        }
        let mut place = vec![usize::MAX; is_in.len()];
        let mut nodes: Vec<Node> = Vec::new();
        for (index, _) in is_in.iter().enumerate().filter(|(_, is_in)| **is_in) {
            let id = StackId(index as u32);
            let Some((frame, caller)) = tree.stack(id) else { continue };
            let caller = caller.map(|caller| place[caller.index()]).filter(|&caller| caller != usize::MAX);
            let own = counts.get(&id).copied().unwrap_or_default();
            place[index] = nodes.len();
            nodes.push(Node { frame, caller, own, total: own, first: None, next: None });
        }
        for index in (0..nodes.len()).rev() {
            if let Some(caller) = nodes[index].caller {
                let total = nodes[index].total;
                nodes[caller].total += total;
                nodes[index].next = nodes[caller].first.replace(index);
            }
        }
        Subtree { nodes }
    }

    /// How many stacks there are in it.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The outermost callers together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.nodes.iter().filter(|node| node.caller.is_none()).for_each(|node| total += node.total);
        total
    }

    fn walk(&self, mut visit: impl FnMut(Step, &Node)) {
        for root in (0..self.nodes.len()).filter(|&index| self.nodes[index].caller.is_none()) {
            let mut at = root;
            visit(Step::Enter, &self.nodes[at]);
            'tree: loop {
                if let Some(first) = self.nodes[at].first {
                    at = first;
                } else {
                    loop {
                        visit(Step::Leave, &self.nodes[at]);
                        if at == root {
                            break 'tree;
                        }
                        match (self.nodes[at].next, self.nodes[at].caller) {
                            (Some(next), _) => {
                                at = next;
                                break;
                            }
                            (None, Some(caller)) => at = caller,
                            (None, None) => break 'tree,
                        }
                    }
                }
                visit(Step::Enter, &self.nodes[at]);
            }
        }
    }

    /// By what frames are put together by. What calls itself is counted once for a stack.
    pub fn rows(&self, keys: &Keys, level: Level) -> Vec<Row> {
        let mut depth = vec![0_u32; keys.count(level)];
        let mut place: FxHashMap<KeyId, usize> = FxHashMap::default();
        let mut rows: Vec<Row> = Vec::new();
        self.walk(|step, node| {
            let Some(key) = keys.of(level, node.frame) else { return };
            let depth = &mut depth[key.0 as usize];
            match step {
                Step::Leave => *depth -= 1,
                Step::Enter => {
                    let next = rows.len();
                    let index = *place.entry(key).or_insert(next);
                    if index == next {
                        rows.push(Row { key, own: Counts::default(), total: Counts::default() });
                    }
                    rows[index].own += node.own;
                    if *depth == 0 {
                        rows[index].total += node.total;
                    }
                    *depth += 1;
                }
            }
        });
        rows
    }

    /// One of these rows in depth. Where it calls itself, who called it first is its caller, and it is among what it calls.
    pub fn detail(&self, keys: &Keys, level: Level, key: KeyId) -> Detail {
        let mut detail = Detail::default();
        let (mut callers, mut callees) = (FxHashMap::<_, Counts>::default(), FxHashMap::<_, Counts>::default());
        let mut depth = 0;
        let mut lines: FxHashMap<KeyId, u32> = FxHashMap::default();
        self.walk(|step, node| {
            if keys.of(level, node.frame) != Some(key) {
                return;
            }
            let at = keys.of(Level::Line, node.frame);
            let line = at.and_then(|at| keys.key(Level::Line, at)?.line);
            if let Step::Leave = step {
                depth -= 1;
                at.into_iter().for_each(|at| *lines.entry(at).or_default() -= 1);
                return;
            }
            detail.own += node.own;
            if let (Some(at), Some(line)) = (at, line) {
                let heat = detail.lines.entry(line).or_default();
                heat.0 += node.own;
                let on_stack = lines.entry(at).or_default();
                if *on_stack == 0 {
                    heat.1 += node.total;
                }
            }
            at.into_iter().for_each(|at| *lines.entry(at).or_default() += 1);
            if depth == 0 {
                detail.total += node.total;
                let caller = node.caller.and_then(|caller| keys.of(level, self.nodes[caller].frame));
                *callers.entry(caller).or_default() += node.total;
                let mut next = node.first;
                while let Some(called) = next {
                    let called = &self.nodes[called];
                    keys.of(level, called.frame)
                        .into_iter()
                        .for_each(|of| *callees.entry(of).or_default() += called.total);
                    next = called.next;
                }
            }
            depth += 1;
        });
        detail.callers = callers.into_iter().collect();
        detail.callees = callees.into_iter().collect();
        detail
    }

    /// The call tree, as far as it is open; at most `most` branches.
    pub fn branches(&self, keys: &Keys, level: Level, mode: Mode, is_open: &dyn Fn(u64) -> bool) -> Vec<Branch> {
        /// Nobody scrolls further.
        const MOST: usize = 10_000;
        let roots = (0..self.nodes.len()).filter(|&index| self.nodes[index].caller.is_none()).collect();
        let mut todo = self.groups(keys, level, mode, roots, 0, 0);
        let mut branches = Vec::new();
        while let Some((mut branch, called)) = todo.pop() {
            if !called.is_empty() && is_open(branch.path) && branches.len() < MOST {
                branch.fold = Fold::Open;
                todo.extend(self.groups(keys, level, mode, called, branch.depth + 1, branch.path));
            }
            branches.push(branch);
        }
        branches
    }

    /// The paths to open so that the hottest branch below `from` is shown: as far as most of a branch is in what it calls.
    pub fn hottest(&self, keys: &Keys, level: Level, mode: Mode, from: Option<u64>) -> Vec<u64> {
        /// A screen has no more rows.
        const MOST: usize = 100;
        let mut opened: Vec<u64> = Vec::new();
        if from.is_none() {
            opened.extend(self.branches(keys, level, mode, &|_| false).first().map(|branch| branch.path));
        }
        opened.extend(from);
        while opened.len() < MOST {
            let Some(&last) = opened.last() else { break };
            let branches = self.branches(keys, level, mode, &|path| opened.contains(&path) || Some(path) == from);
            let Some(at) = branches.iter().position(|branch| branch.path == last) else { break };
            let heavy = |branch: &&Branch| mode.of(&branch.total) * 2 > mode.of(&branches[at].total);
            match branches.get(at + 1).filter(|next| next.depth > branches[at].depth).filter(heavy) {
                Some(next) => opened.push(next.path),
                None => break,
            }
        }
        opened
    }

    /// Nodes by what they are put together by, with what they call; the heaviest last.
    fn groups(
        &self,
        keys: &Keys,
        level: Level,
        mode: Mode,
        nodes: Vec<usize>,
        depth: usize,
        path: u64,
    ) -> Vec<(Branch, Vec<usize>)> {
        let mut groups: FxHashMap<KeyId, (Branch, Vec<usize>)> = FxHashMap::default();
        for node in nodes {
            let node = &self.nodes[node];
            let Some(key) = keys.of(level, node.frame) else { continue };
            let (branch, called) = groups.entry(key).or_insert_with(|| {
                let (own, total) = Default::default();
                (Branch { key, depth, own, total, path: below(path, key), fold: Fold::Leaf }, Vec::new())
            });
            branch.own += node.own;
            branch.total += node.total;
            let mut next = node.first;
            while let Some(index) = next {
                branch.fold = Fold::Closed;
                called.push(index);
                next = self.nodes[index].next;
            }
        }
        let mut groups: Vec<_> = groups.into_values().filter(|(branch, _)| mode.of(&branch.total) > 0).collect();
        groups.sort_by_key(|(branch, _)| (mode.of(&branch.total), std::cmp::Reverse(branch.key)));
        groups
    }
}

/// Stands for a path that goes on with `key`.
fn below(path: u64, key: KeyId) -> u64 {
    let mut hasher = FxHasher::default();
    (path, key).hash(&mut hasher);
    hasher.finish()
}
