//! The call tree with names in it: stacks whose labels are equal are one. Both stack formats are written from it.

use std::collections::HashMap;
use std::io;

use super::{Labels, Processes, Threads};
use crate::aggregate::{CallTree, Count};
use crate::sample::StackId;

/// The root, which stands for no frame.
const ROOT: u32 = 0;

/// A tree of labels. A stack is a path from the root; the innermost frame's node has the count.
#[derive(Debug)]
pub struct Folded {
    labels: Interned,
    nodes: Vec<Node>,
    children: HashMap<(u32, u32), u32>,
}

#[derive(Debug, Default)]
struct Node {
    label: u32,
    slots: u64,
    children: Vec<u32>,
}

#[derive(Debug, Default)]
struct Interned {
    texts: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Folded {
    /// Names everything in `tree`.
    pub fn new(tree: &CallTree, labels: &Labels) -> Folded {
        let mut folded = Folded { labels: Interned::default(), nodes: vec![Node::default()], children: HashMap::new() };
        let frames = folded.frame_labels(tree, labels);
        let mut placed = HashMap::new();
        for count in tree.counts() {
            let root = folded.root(tree, labels, &count);
            let node = folded.place(tree, &frames, &mut placed, root, count.stack);
            folded.nodes[node as usize].slots += count.slots;
        }
        folded.sort();
        folded
    }

    /// Calls `visit` with each stack that was seen: its labels, outermost first and joined by `;`, and for how many slots.
    /// Neighbours share as much of their outer frames as there is to share; the order depends on the labels alone.
    pub fn each_stack(&self, mut visit: impl FnMut(&str, u64) -> io::Result<()>) -> io::Result<()> {
        let mut path = String::new();
        let mut todo = self.calls_of(ROOT, 0);
        while let Some((node, caller_length)) = todo.pop() {
            path.truncate(caller_length);
            if caller_length > 0 {
                path.push(';');
            }
            path.push_str(self.label(node));
            let slots = self.nodes[node as usize].slots;
            if slots > 0 {
                visit(&path, slots)?;
            }
            todo.extend(self.calls_of(node, path.len()));
        }
        Ok(())
    }

    /// The children of `node`, last first, each with the length of the path to `node`.
    fn calls_of(&self, node: u32, length: usize) -> Vec<(u32, usize)> {
        self.nodes[node as usize].children.iter().rev().map(|&child| (child, length)).collect()
    }

    fn label(&self, node: u32) -> &str {
        &self.labels.texts[self.nodes[node as usize].label as usize]
    }

    fn frame_labels(&mut self, tree: &CallTree, labels: &Labels) -> Vec<u32> {
        let label = |frame: &crate::sample::Frame| match tree.code(frame.code) {
            Some(code) => labels.frame(code, frame.line),
            None => "unknown (?)".into(),
        };
        tree.frames().iter().map(|frame| self.labels.intern(label(frame))).collect()
    }

    /// Where stacks begin: with the process where there are several, then with the thread if threads are told apart.
    fn root(&mut self, tree: &CallTree, labels: &Labels, count: &Count) -> u32 {
        let mut root = ROOT;
        if labels.processes == Processes::Apart || tree.processes().len() > 1 {
            let process = tree.process(count.process);
            let label = process.map_or("unknown (pid ?)".into(), |process| labels.process(process));
            let label = self.labels.intern(label);
            root = self.child(root, label);
        }
        if labels.threads == Threads::Apart {
            let thread = tree.thread(count.thread);
            let label = thread.map_or("unknown (thread ?)".into(), |thread| labels.thread(thread));
            let label = self.labels.intern(label);
            root = self.child(root, label);
        }
        root
    }

    /// The node of `stack` below `root`. Goes outwards only as far as nothing is placed yet.
    fn place(
        &mut self,
        tree: &CallTree,
        frames: &[u32],
        placed: &mut HashMap<(u32, StackId), u32>,
        root: u32,
        stack: StackId,
    ) -> u32 {
        let mut missing = Vec::new();
        let mut node = root;
        let mut outer = Some(stack);
        while let Some(stack) = outer {
            if let Some(&there) = placed.get(&(root, stack)) {
                node = there;
                break;
            }
            let (frame, caller) = tree.stack(stack).map_or((None, None), |(frame, caller)| (Some(frame), caller));
            missing.push((stack, frame));
            outer = caller;
        }
        for (stack, frame) in missing.into_iter().rev() {
            let label = match frame.and_then(|frame| frames.get(frame.index())) {
                Some(&label) => label,
                None => self.labels.intern("unknown (?)".into()),
            };
            node = self.child(node, label);
            placed.insert((root, stack), node);
        }
        node
    }

    fn child(&mut self, parent: u32, label: u32) -> u32 {
        if let Some(&child) = self.children.get(&(parent, label)) {
            return child;
        }
        let child = self.nodes.len() as u32;
        self.nodes.push(Node { label, ..Node::default() });
        self.nodes[parent as usize].children.push(child);
        self.children.insert((parent, label), child);
        child
    }

    fn sort(&mut self) {
        for node in 0..self.nodes.len() {
            let mut children = std::mem::take(&mut self.nodes[node].children);
            children.sort_unstable_by(|&a, &b| self.label(a).cmp(self.label(b)));
            self.nodes[node].children = children;
        }
    }
}

impl Interned {
    fn intern(&mut self, text: String) -> u32 {
        if let Some(&id) = self.ids.get(&text) {
            return id;
        }
        let id = self.texts.len() as u32;
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        id
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::export::{Files, Lines};
    use crate::sample::{
        Code, CodeId, Event, Frame, FrameId, GilState, Process, ProcessId, Sample, StackId, Thread, ThreadId,
        ThreadState, Tid, Weight,
    };

    /// A thread, a stack outermost first as (function, line), how often it was seen.
    type Stack<'a> = (u32, &'a [(&'a str, u32)], u64);

    /// A tree of stacks given outermost first as (function, line), each of a thread and seen some times.
    pub fn tree(stacks: &[Stack<'_>]) -> CallTree {
        let mut tree = CallTree::default();
        let (mut codes, mut next) = (Vec::<&str>::new(), 0);
        for &(thread, frames, samples) in stacks {
            let id = ThreadId(thread);
            while tree.threads().len() <= id.index() {
                tree.take(worker(tree.threads().len() as u32));
            }
            let mut caller = None;
            for &(function, line) in frames {
                let code = codes.iter().position(|&c| c == function).unwrap_or_else(|| {
                    tree.take(define_code(codes.len() as u32, function));
                    codes.push(function);
                    codes.len() - 1
                });
                tree.take(Event::Frame(FrameId(next), Frame { code: CodeId(code as u32), line: Some(line) }));
                tree.take(Event::Stack { id: StackId(next), caller, frame: FrameId(next) });
                caller = Some(StackId(next));
                next += 1;
            }
            (0..samples).for_each(|_| tree.take(sample(id, caller)));
        }
        tree
    }

    fn worker(id: u32) -> Event {
        let thread = Thread {
            process: ProcessId(0),
            interpreter: 0,
            os_thread_id: Some(Tid(100 + id)),
            python_thread_id: u64::from(id),
            name: Some(format!("worker-{id}").into()),
        };
        Event::Thread(ThreadId(id), thread)
    }

    fn define_code(id: u32, function: &str) -> Event {
        Event::Code(CodeId(id), Code { function: function.into(), file: "/srv/app.py".into(), first_line: 7 })
    }

    fn sample(thread: ThreadId, stack: Option<StackId>) -> Event {
        let (state, gil) = (ThreadState::RunsPython, GilState::Held);
        Event::Sample(Sample { at: Duration::ZERO, thread, state, gil, stack, weight: Weight::ONE })
    }

    fn lines(tree: &CallTree, labels: &Labels) -> Vec<String> {
        let mut lines = Vec::new();
        let visited = Folded::new(tree, labels).each_stack(|stack, samples| {
            lines.push(format!("{stack} {samples}"));
            Ok(())
        });
        visited.unwrap();
        lines
    }

    #[test]
    fn equal_stacks_of_two_threads_are_one_line() {
        let tree = tree(&[(0, &[("main", 1), ("f", 2)], 3), (1, &[("main", 1), ("f", 2)], 4)]);
        assert_eq!(lines(&tree, &Labels::default()), ["main (app.py:1);f (app.py:2) 7"]);
    }

    #[test]
    fn threads_that_are_kept_apart_are_the_roots() {
        let tree = tree(&[(1, &[("f", 2)], 3), (0, &[("f", 2)], 4)]);
        let labels = Labels { threads: Threads::Apart, ..Labels::default() };
        assert_eq!(
            lines(&tree, &labels),
            ["worker-0 (thread 100);f (app.py:2) 4", "worker-1 (thread 101);f (app.py:2) 3"]
        );
    }

    #[test]
    fn several_processes_are_the_roots() {
        let mut tree = CallTree::merged();
        for (id, name) in ["app.py", "worker.py"].into_iter().enumerate() {
            let command = ["python3", name].map(String::from).into();
            let (pid, python) = (40 + id as u32, "3.13.0".into());
            tree.take(Event::Process(ProcessId(id as u32), Process { pid, own_pid: 1, parent: None, command, python }));
            let (process, name) = (ProcessId(id as u32), Some("MainThread".into()));
            let thread = Thread { process, interpreter: 0, os_thread_id: Some(Tid(pid)), python_thread_id: 0, name };
            tree.take(Event::Thread(ThreadId(id as u32), thread));
        }
        tree.take(define_code(0, "f"));
        tree.take(Event::Frame(FrameId(0), Frame { code: CodeId(0), line: Some(8) }));
        tree.take(Event::Stack { id: StackId(0), caller: None, frame: FrameId(0) });
        [0, 1, 1].into_iter().for_each(|thread| tree.take(sample(ThreadId(thread), Some(StackId(0)))));
        assert_eq!(
            lines(&tree, &Labels::default()),
            ["app.py (pid 40, 1 inside);f (app.py:8) 1", "worker.py (pid 41, 1 inside);f (app.py:8) 2"]
        );
    }

    #[test]
    fn processes_that_are_kept_apart_are_the_roots_of_their_threads() {
        let mut tree = tree(&[(0, &[("f", 2)], 3)]);
        let process = |pid| Process {
            pid,
            own_pid: pid,
            parent: None,
            command: vec!["python3".into(), format!("{pid}.py")],
            python: "3.11.7".into(),
        };
        let Event::Thread(_, thread) = worker(1) else { unreachable!("it defines a thread") };
        tree.take(Event::Process(ProcessId(0), process(40)));
        tree.take(Event::Process(ProcessId(1), process(41)));
        tree.take(Event::Thread(ThreadId(1), Thread { process: ProcessId(1), ..thread }));
        (0..4).for_each(|_| tree.take(sample(ThreadId(1), Some(StackId(0)))));
        let labels = Labels { processes: Processes::Apart, ..Labels::default() };
        assert_eq!(lines(&tree, &labels), ["40.py (pid 40);f (app.py:2) 3", "41.py (pid 41);f (app.py:2) 4"]);
        let labels = Labels { threads: Threads::Apart, ..labels };
        assert_eq!(
            lines(&tree, &labels),
            [
                "40.py (pid 40);worker-0 (thread 100);f (app.py:2) 3",
                "41.py (pid 41);worker-1 (thread 101);f (app.py:2) 4"
            ]
        );
    }

    #[test]
    fn lines_of_a_function_are_merged_on_request() {
        let tree = tree(&[(0, &[("f", 8)], 3), (0, &[("f", 9)], 4)]);
        assert_eq!(lines(&tree, &Labels::default()), ["f (app.py:8) 3", "f (app.py:9) 4"]);
        let labels = Labels { lines: Lines::First, files: Files::Full, ..Labels::default() };
        assert_eq!(lines(&tree, &labels), ["f (/srv/app.py:7) 7"]);
    }

    #[test]
    fn the_order_does_not_depend_on_who_came_first() {
        let (a, b): (&[_], &[_]) = (&[("a", 1), ("z", 1)], &[("b", 1)]);
        let one = tree(&[(0, a, 1), (0, b, 2)]);
        let other = tree(&[(0, b, 2), (0, a, 1)]);
        assert_eq!(lines(&one, &Labels::default()), ["a (app.py:1);z (app.py:1) 1", "b (app.py:1) 2"]);
        assert_eq!(lines(&one, &Labels::default()), lines(&other, &Labels::default()));
    }

    #[test]
    fn a_stack_that_is_also_a_caller_keeps_its_own_count() {
        let tree = tree(&[(0, &[("a", 1)], 2), (0, &[("a", 1), ("b", 1)], 3)]);
        assert_eq!(lines(&tree, &Labels::default()), ["a (app.py:1) 2", "a (app.py:1);b (app.py:1) 3"]);
    }

    #[test]
    fn a_hundred_thousand_frames_deep_is_no_problem() {
        let frames = vec![("f", 1); 100_000];
        let tree = tree(&[(0, &frames, 1)]);
        let lines = lines(&tree, &Labels::default());
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].matches("f (app.py:1)").count(), 100_000);
    }

    #[test]
    fn a_stack_that_was_never_defined_is_unknown() {
        let mut tree = CallTree::default();
        tree.take(sample(ThreadId(0), Some(StackId(5))));
        let labels = Labels { threads: Threads::Apart, ..Labels::default() };
        assert_eq!(lines(&tree, &labels), ["unknown (thread ?);unknown (?) 1"]);
    }
}
