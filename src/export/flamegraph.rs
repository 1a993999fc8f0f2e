//! A flame graph as SVG, drawn by inferno: outermost frame at the bottom, searchable, the same bytes for the same totals.

use std::io::{self, Write};

use inferno::flamegraph::{Direction, Options, TextTruncateDirection, from_lines};

use super::Folded;
use super::labels::clean;
use crate::aggregate::diff::{Comparison, Function, StackChange};
use crate::printable::printable;

/// What is written above the graph.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// What was recorded.
    pub title: String,
    /// How, and how much.
    pub subtitle: String,
}

/// How stacks are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    /// Where merging begins.
    pub from: From,
    /// Where stacks grow to.
    pub growth: Growth,
}

/// From which end on stacks are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// Their outermost frames: what takes the time, and what in it?
    #[default]
    Outermost,
    /// Their innermost frames: what takes the time, and who calls it?
    Innermost,
}

/// Where stacks grow to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// The bottom is where they begin.
    #[default]
    Up,
    /// The top is: icicles.
    Down,
}

/// Draws `stacks` as usual: [`draw`].
pub fn write(stacks: &Folded, heading: &Heading, out: &mut dyn Write) -> io::Result<()> {
    draw(stacks, heading, Drawing::default(), out)
}

/// Draws `stacks`. No stack at all makes a picture that says so.
pub fn draw(stacks: &Folded, heading: &Heading, drawing: Drawing, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Vec::new();
    stacks.each_stack(|stack, samples| {
        lines.push(format!("{stack} {samples}"));
        Ok(())
    })?;
    if lines.is_empty() {
        return write_empty(heading, out);
    }
    from_lines(&mut options(heading, drawing), lines.iter().map(String::as_str), out)
}

/// Draws how two recordings differ: how wide a frame is says how much it takes after, its colour whether that is more than
/// before (red) or less (blue). Frames are functions without lines: those move from version to version.
pub fn write_difference(comparison: &Comparison, heading: &Heading, out: &mut dyn Write) -> io::Result<()> {
    let [before, after] = comparison.sides().map(|side| side.slots);
    if after == 0 {
        return write_empty(heading, out);
    }
    let mut lines: Vec<String> = comparison.stacks().map(|stack| difference_line(&stack, before, after)).collect();
    lines.sort_unstable();
    let mut options = options(heading, Drawing::default());
    options.count_name = "samples after".into();
    from_lines(&mut options, lines.iter().map(String::as_str), out)
}

/// A stack with its samples before, as if there had been as many in all as after, and its samples after.
fn difference_line(stack: &StackChange, before: u64, after: u64) -> String {
    let frame = |function: &Function| format!("{} ({})", clean(&function.function), clean(&function.file));
    let stack_text = stack.functions.iter().map(frame).collect::<Vec<_>>().join(";");
    let scaled = (stack.before as f64 * after as f64 / before.max(1) as f64).round();
    format!("{stack_text} {scaled} {}", stack.after)
}

fn options(heading: &Heading, drawing: Drawing) -> Options<'static> {
    let mut options = Options::default();
    options.title = printable(&heading.title).into_owned();
    options.subtitle = Some(printable(&heading.subtitle).into_owned());
    options.count_name = "samples".into();
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.deterministic = true;
    options.reverse_stack_order = drawing.from == From::Innermost;
    options.direction = match drawing.growth {
        Growth::Up => Direction::Straight,
        Growth::Down => Direction::Inverted,
    };
    options
}

fn write_empty(heading: &Heading, out: &mut dyn Write) -> io::Result<()> {
    let (title, subtitle) = (xml(&heading.title), xml(&heading.subtitle));
    write!(
        out,
        r##"<?xml version="1.0" encoding="utf-8"?>
<svg version="1.1" width="1200" height="120" viewBox="0 0 1200 120" xmlns="http://www.w3.org/2000/svg">
<rect width="100%" height="100%" fill="#f8f8f8"/>
<g font-family="monospace" font-size="12" text-anchor="middle">
<text x="600" y="30" font-size="17">{title}</text>
<text x="600" y="54" fill="#707070">{subtitle}</text>
<text x="600" y="88">No samples: no Python stack was seen, or none is left of those that were.</text>
</g>
</svg>
"##
    )
}

fn xml(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, ParsingOptions};

    use super::*;
    use crate::aggregate::CallTree;
    use crate::export::Labels;
    use crate::export::folded::tests::tree;

    fn svg(tree: &CallTree, title: &str) -> String {
        let heading = Heading { title: title.into(), subtitle: "5 stacks".into() };
        let mut out = Vec::new();
        write(&Folded::new(tree, &Labels::default()), &heading, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn parsed(svg: &str) -> Document<'_> {
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        Document::parse_with_options(svg, options).unwrap()
    }

    fn texts<'a>(document: &'a Document<'_>, tag: &str) -> Vec<&'a str> {
        document
            .descendants()
            .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", tag)))
            .filter_map(|node| node.text())
            .collect()
    }

    #[test]
    fn a_frame_tells_its_samples_and_its_share() {
        let svg = svg(&tree(&[(0, &[("main", 1), ("f", 2)], 3), (0, &[("main", 1)], 1)]), "app.py");
        let document = parsed(&svg);
        let titles = texts(&document, "title");
        assert!(titles.contains(&"main (app.py:1) (4 samples, 100.00%)"), "{titles:?}");
        assert!(titles.contains(&"f (app.py:2) (3 samples, 75.00%)"), "{titles:?}");
    }

    #[test]
    fn the_graph_has_a_title_a_subtitle_and_a_search() {
        let svg = svg(&tree(&[(0, &[("main", 1)], 1)]), "app.py (pid 4242) · Python 3.11.7");
        let document = parsed(&svg);
        let texts = texts(&document, "text");
        assert!(texts.contains(&"app.py (pid 4242) · Python 3.11.7") && texts.contains(&"5 stacks"), "{texts:?}");
        assert!(texts.contains(&"Search") && svg.contains("function search("));
    }

    #[test]
    fn no_stack_makes_a_picture_that_says_so() {
        let svg = svg(&CallTree::default(), "<app & \x1b[31m>");
        let document = parsed(&svg);
        assert_eq!(
            texts(&document, "text"),
            [
                "<app & \\x1b[31m>",
                "5 stacks",
                "No samples: no Python stack was seen, or none is left of those that were."
            ]
        );
    }

    #[test]
    fn hostile_names_make_no_markup() {
        let names = ["<script>alert(1)</script>", "\"'&]]>", "\x1b[31m\0\u{fffe}", "--", "_[k]", "a\u{202e}b"];
        for name in names {
            let svg = svg(&tree(&[(0, &[(name, 1)], 2)]), name);
            let document = parsed(&svg);
            let scripts = document.descendants().filter(|node| node.tag_name().name() == "script").count();
            assert_eq!(scripts, 1, "{name:?}");
            let shown = format!("{} (app.py:1) (2 samples, 100.00%)", printable(name));
            assert!(texts(&document, "title").contains(&shown.as_str()), "{name:?}");
        }
    }

    #[test]
    fn names_that_sort_between_a_frame_and_its_callees_are_no_problem() {
        let stacks: &[_] = &[(0, &[("f", 1), ("x", 1)][..], 1), (0, &[("f (app.py:1) g", 1)], 1), (0, &[("f", 1)], 1)];
        assert!(svg(&tree(stacks), "app.py").contains("total_samples=\"3\""));
    }

    /// The frames of a graph and where they are: how far from the top.
    fn heights(drawing: Drawing) -> Vec<(String, f64)> {
        let tree =
            tree(&[(0, &[("main", 1), ("f", 2), ("leaf", 3)], 3), (0, &[("main", 1), ("g", 2), ("leaf", 3)], 2)]);
        let mut out = Vec::new();
        draw(&Folded::new(&tree, &Labels::default()), &Heading::default(), drawing, &mut out).unwrap();
        let svg = String::from_utf8(out).unwrap();
        let document = parsed(&svg);
        let frames = document.descendants().filter(|node| node.tag_name().name() == "g");
        let frame = |node: roxmltree::Node<'_, '_>| {
            let text = |tag| node.children().find(|child| child.tag_name().name() == tag);
            let height = text("rect")?.attribute("y")?.parse().ok()?;
            Some((text("title")?.text()?.split(" (app.py").next()?.to_owned(), height))
        };
        frames.filter_map(frame).collect()
    }

    #[test]
    fn an_inverted_graph_merges_the_innermost_frames() {
        let count = |drawing, name| heights(drawing).iter().filter(|(frame, _)| frame == name).count();
        let (usual, inverted) = (Drawing::default(), Drawing { from: From::Innermost, ..Drawing::default() });
        assert_eq!((count(usual, "main"), count(usual, "leaf")), (1, 2));
        assert_eq!((count(inverted, "main"), count(inverted, "leaf")), (2, 1));
    }

    #[test]
    fn icicles_grow_down() {
        let of = |drawing, name| heights(drawing).iter().find(|(frame, _)| frame == name).unwrap().1;
        let (usual, icicles) = (Drawing::default(), Drawing { growth: Growth::Down, ..Drawing::default() });
        assert!(of(usual, "main") > of(usual, "leaf") && of(icicles, "main") < of(icicles, "leaf"));
    }

    #[test]
    fn the_same_totals_make_the_same_bytes() {
        let one = tree(&[(0, &[("a", 1)], 1), (0, &[("b", 1)], 2)]);
        let other = tree(&[(0, &[("b", 1)], 2), (0, &[("a", 1)], 1)]);
        assert_eq!(svg(&one, "x"), svg(&other, "x"));
    }
}
