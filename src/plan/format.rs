//! The formats of a profile: what each is called, which names of files tell it, and who writes it. A new one takes a variant
//! of [`Format`] and a row of [`FORMATS`].

use std::io::{self, Write};
use std::path::Path;

use pysample::error::Result;
use pysample::export::flamegraph::{self, Drawing, Heading};
use pysample::export::html::{self, Sources};
use pysample::export::{Folded, Labels, chrome_trace, collapsed, firefox, json_lines, pprof, pstats, speedscope};
use pysample::sample::Replay;

use super::wrong;

/// What a profile is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Collapsed stacks.
    Collapsed,
    /// A flame graph.
    Flamegraph,
    /// An own recording.
    Pysample,
    /// A page with a flame graph, a timeline and the source.
    Html,
    /// For speedscope.
    Speedscope,
    /// For pprof.
    Pprof,
    /// For the Firefox profiler.
    Firefox,
    /// For Python's own pstats.
    Pstats,
    /// Trace events, for Perfetto.
    ChromeTrace,
    /// One JSON object a line.
    JsonLines,
}

/// What there is to know of a format.
#[derive(Debug)]
pub struct Row {
    format: Format,
    /// What it is called; the first name is what we call it.
    names: &'static [&'static str],
    /// What names of files end with, after a dot; the first is for files that we name.
    endings: &'static [&'static str],
    /// Who writes it.
    way: Way,
}

/// Writes stacks and how often each was seen.
pub type FromStacks = fn(&Folded, &Heading, Drawing, &mut dyn Write) -> io::Result<()>;
/// Writes what is made of every sample.
pub type FromSamples = fn(&dyn Replay, &Labels, &Sources<'_>, &mut dyn Write) -> io::Result<()>;

/// What a format is made from, and by whom.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Stacks and how often each was seen: while recording nothing else is kept.
    Stacks(FromStacks),
    /// Every sample.
    Samples(FromSamples),
    /// It is an own recording.
    Own,
}

const FORMATS: &[Row] = &[
    Row {
        format: Format::Flamegraph,
        names: &["svg", "flamegraph"],
        endings: &["svg"],
        way: Way::Stacks(flamegraph::draw),
    },
    Row {
        format: Format::Collapsed,
        names: &["collapsed", "folded", "txt"],
        endings: &["txt", "folded", "collapsed"],
        way: Way::Stacks(|stacks, _, _, out| collapsed::write(stacks, out)),
    },
    Row { format: Format::Pysample, names: &["pysample"], endings: &["pysample"], way: Way::Own },
    Row {
        format: Format::Html,
        names: &["html"],
        endings: &["html", "htm"],
        way: Way::Samples(|recording, labels, sources, out| html::write(recording, labels, sources, out)),
    },
    Row {
        format: Format::Speedscope,
        names: &["speedscope"],
        endings: &["speedscope.json", "speedscope"],
        way: Way::Samples(|recording, labels, _, out| speedscope::write(recording, labels, out)),
    },
    Row {
        format: Format::Pprof,
        names: &["pprof", "pb"],
        endings: &["pb.gz", "pprof"],
        way: Way::Samples(|recording, labels, _, out| pprof::write(recording, labels, out)),
    },
    Row {
        format: Format::Firefox,
        names: &["firefox", "gecko"],
        endings: &["firefox.json", "gecko.json"],
        way: Way::Samples(|recording, labels, _, out| firefox::write(recording, labels, out)),
    },
    Row {
        format: Format::Pstats,
        names: &["pstats", "cprofile"],
        endings: &["pstats", "prof"],
        way: Way::Samples(|recording, labels, _, out| pstats::write(recording, labels, out)),
    },
    Row {
        format: Format::ChromeTrace,
        names: &["chrome-trace", "perfetto", "trace"],
        endings: &["trace.json", "perfetto.json"],
        way: Way::Samples(|recording, labels, _, out| chrome_trace::write(recording, labels, out)),
    },
    Row {
        format: Format::JsonLines,
        names: &["jsonl", "json-lines", "ndjson"],
        endings: &["jsonl", "ndjson"],
        way: Way::Samples(|recording, labels, _, out| json_lines::write(recording, labels, out)),
    },
];

impl Format {
    fn row(self) -> &'static Row {
        FORMATS.iter().find(|row| row.format == self).expect("every format has a row")
    }

    /// The ending of a file's name that goes with it.
    pub fn ending(self) -> &'static str {
        self.row().endings[0]
    }

    /// What it is made from, and by whom.
    pub fn way(self) -> Way {
        self.row().way
    }

    /// The format of a name.
    pub fn named(name: &str) -> Result<Format> {
        let name = name.to_ascii_lowercase();
        match FORMATS.iter().find(|row| row.names.contains(&name.as_str())) {
            Some(row) => Ok(row.format),
            None => wrong(format!("there is no format '{name}'"), format!("the formats are {}", names(FORMATS))),
        }
    }

    /// The format that a file's name tells. Devices and pipes have no endings: they take collapsed stacks. So do folders,
    /// which are refused for a better reason later.
    pub fn of_file(path: &Path) -> Result<Format> {
        of_file(FORMATS, path)
    }
}

fn names(formats: &[Row]) -> String {
    formats.iter().map(|row| row.names[0]).collect::<Vec<_>>().join(", ")
}

fn of_file(formats: &[Row], path: &Path) -> Result<Format> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let has =
        |ending: &str| name.strip_suffix(ending).and_then(|rest| rest.strip_suffix('.')).is_some_and(|s| !s.is_empty());
    if let Some(row) = formats.iter().find(|row| row.endings.iter().any(|ending| has(ending))) {
        return Ok(row.format);
    }
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return Ok(Format::Collapsed);
    }
    let spelled = |ending: &&str| format!(".{ending}");
    let endings = || formats.iter().flat_map(|row| row.endings);
    let Some(last) = Path::new(&name).extension().map(|ending| ending.to_string_lossy()) else {
        let hint =
            format!("the endings are {}; or say which with -f", endings().map(spelled).collect::<Vec<_>>().join(", "));
        return wrong(format!("the name {} does not tell a format", path.display()), hint);
    };
    let longer: Vec<String> = endings().filter(|ending| ending.ends_with(&format!(".{last}"))).map(spelled).collect();
    match longer.is_empty() {
        true => {
            let hint = format!(
                "the endings are {}; or say -f with {}",
                endings().map(spelled).collect::<Vec<_>>().join(", "),
                names(formats)
            );
            wrong(format!("no format goes with the ending .{last}"), hint)
        }
        false => {
            let hint = format!("as in {}; or say -f with {}", longer.join(", "), names(formats));
            wrong(format!("the ending .{last} alone does not tell a format"), hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use pysample::error::Error;

    use super::*;

    fn told(formats: &[Row], name: &str) -> (String, String) {
        match of_file(formats, Path::new(name)) {
            Err(Error::Usage { what, hint: Some(hint) }) => (what, hint),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn every_format_has_a_row_a_name_and_an_ending_of_its_own() {
        for (number, row) in FORMATS.iter().enumerate() {
            assert_eq!(row.format.row().names, row.names);
            assert_eq!(Format::named(row.names[0]).unwrap(), row.format);
            for other in &FORMATS[number + 1..] {
                assert!(row.names.iter().all(|name| !other.names.contains(name)));
                assert!(row.endings.iter().all(|ending| !other.endings.contains(ending)));
            }
            for ending in row.endings {
                assert_eq!(Format::of_file(Path::new(&format!("a.{ending}"))).unwrap(), row.format);
            }
        }
    }

    /// As if flame graphs were kept in two kinds of JSON.
    const OF_JSON: &[Row] = &[Row {
        format: Format::Flamegraph,
        names: &["speedscope"],
        endings: &["speedscope.json", "trace.json"],
        way: Way::Own,
    }];

    #[test]
    fn an_ending_may_have_two_parts() {
        assert_eq!(of_file(OF_JSON, Path::new("a.b.Trace.JSON")).unwrap(), Format::Flamegraph);
    }

    #[test]
    fn a_part_of_an_ending_is_refused_and_told_what_it_may_be() {
        let (what, hint) = told(OF_JSON, "a.json");
        assert_eq!(what, "the ending .json alone does not tell a format");
        assert_eq!(hint, "as in .speedscope.json, .trace.json; or say -f with speedscope");
    }

    #[test]
    fn an_ending_alone_is_no_name_with_one() {
        assert_eq!(told(FORMATS, ".svg").0, "the name .svg does not tell a format");
        assert_eq!(told(FORMATS, "profile").0, "the name profile does not tell a format");
        assert_eq!(told(FORMATS, "a.pdf").0, "no format goes with the ending .pdf");
    }
}
