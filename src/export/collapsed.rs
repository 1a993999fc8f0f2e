//! Collapsed stacks: one line for each stack, frames outermost first and joined by `;`, a space, the count: samples, each as often
//! as it stands for slots of the clock. Flame graph tools, speedscope and people with `grep` read it.

use std::io::{self, Write};

use super::Folded;

/// Writes `stacks`, sorted by label. A reader parts a line at its last space.
pub fn write(stacks: &Folded, out: &mut dyn Write) -> io::Result<()> {
    stacks.each_stack(|stack, slots| writeln!(out, "{stack} {slots}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::CallTree;
    use crate::export::folded::tests::tree;
    use crate::export::{Labels, Lines};

    fn text(tree: &CallTree) -> String {
        let mut out = Vec::new();
        write(&Folded::new(tree, &Labels::default()), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Reads a line as the tools do: parted at its last space, then at each `;`.
    fn read(line: &str) -> (Vec<&str>, u64) {
        let (stack, samples) = line.rsplit_once(' ').unwrap();
        (stack.split(';').collect(), samples.parse().unwrap())
    }

    #[test]
    fn a_line_is_a_stack_and_its_count() {
        let tree = tree(&[(0, &[("<module>", 9), ("Job.run", 4)], 3), (0, &[("<module>", 9)], 2)]);
        assert_eq!(text(&tree), "<module> (app.py:9) 2\n<module> (app.py:9);Job.run (app.py:4) 3\n");
    }

    #[test]
    fn no_stack_is_no_line() {
        assert_eq!(text(&CallTree::default()), "");
    }

    #[test]
    fn hostile_names_come_back_as_one_frame_and_the_right_count() {
        for name in
            ["a;b", "a\nb 7", "a 12", "a 12 34", "# a", " ", "", "\r\n", "a\u{2028}b", "a\u{85}b", "a\0", "\u{a0}"]
        {
            let text = text(&tree(&[(0, &[("main", 1), (name, 2), ("leaf", 3)], 5), (0, &[(name, 2)], 4)]));
            let stacks: Vec<_> = text.lines().map(read).collect();
            let mut shapes: Vec<_> = stacks.iter().map(|(frames, samples)| (frames.len(), *samples)).collect();
            shapes.sort_unstable();
            assert_eq!(shapes, [(1, 4), (3, 5)], "{name:?}: {text:?}");
            assert!(!text.starts_with('#') && !text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
    }

    #[test]
    fn inferno_counts_what_was_written() {
        let names = ["a;b", "a\nb", "a 12", "# a", " ", "a (app.py:1)", "a (app.py:1) 5"];
        let stacks: Vec<_> = names.iter().map(|&name| [(name, 1)]).collect();
        let stacks: Vec<_> = stacks.iter().map(|frames| (0, &frames[..], 3)).collect();
        let text = text(&tree(&stacks));
        let mut svg = Vec::new();
        let mut options = inferno::flamegraph::Options::default();
        inferno::flamegraph::from_lines(&mut options, text.lines(), &mut svg).unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("total_samples=\"21\""));
    }

    #[test]
    fn the_lines_of_a_function_are_one_line_on_request() {
        let labels = Labels { lines: Lines::First, ..Labels::default() };
        let mut out = Vec::new();
        let tree = tree(&[(0, &[("f", 8)], 3), (0, &[("f", 9)], 4)]);
        write(&Folded::new(&tree, &labels), &mut out).unwrap();
        assert_eq!(out, b"f (app.py:7) 7\n");
    }

    #[test]
    fn a_full_disk_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let folded = Folded::new(&tree(&[(0, &[("f", 8)], 3)]), &Labels::default());
        assert_eq!(write(&folded, &mut Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
