//! Why a process can be read or cannot, as text for people and as JSON for programs.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::dump::{Colour, command_line};
use crate::printable::printable;
use crate::target::permission::{Outcome, Remedy};

/// The version of the JSON's shape.
pub const SCHEMA: u32 = 1;

/// What was found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: u32,
    pysample: &'static str,
    /// What was examined; nothing if it was asked what is allowed at all.
    process: Option<Subject>,
    rules: Vec<Finding>,
    cost: Option<Cost>,
    verdict: Verdict,
}

/// Which process was examined.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// Its id.
    pub pid: u32,
    /// Its id in its own PID namespace, where that is another than ours.
    pub pid_inside: Option<u32>,
    /// What it runs in, in a few words.
    pub container: Option<String>,
    /// Its command line.
    pub command: Vec<String>,
}

/// A rule, or something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is called.
    pub name: String,
    /// What comes of it.
    pub outcome: Outcome,
    /// What it looks at, or what was answered.
    pub value: String,
    /// What mends it.
    pub remedies: Vec<Remedy>,
}

impl Finding {
    /// One that needs no remedy.
    pub fn new(name: &str, outcome: Outcome, value: impl Into<String>) -> Finding {
        Finding { name: name.into(), outcome, value: value.into(), remedies: Vec::new() }
    }
}

/// What samples cost, as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Samples that were taken.
    pub samples: u64,
    /// System calls that read memory, for a sample.
    pub reads: f64,
    /// Samples for which a thread was stopped.
    pub stops: u64,
    /// For how long, in the median, in microseconds.
    pub stop_microseconds: f64,
    /// What 100 samples a second would take of one processor, in percent.
    pub cpu_percent: f64,
    /// Whether the kernel lets us stop threads.
    pub may_pause: bool,
}

impl Cost {
    fn to_text(self) -> String {
        let Cost { samples, reads, stops, stop_microseconds, cpu_percent, may_pause } = self;
        let stopped = match (may_pause, stops) {
            (false, _) => {
                "no thread can be stopped, so stacks may be mixtures of moments (as with --never-pause)".into()
            }
            (true, 0) => "no stop was needed".into(),
            (true, stops) => {
                format!("{stops} of them stopped one thread, for {stop_microseconds:.0} us in the median")
            }
        };
        format!(
            "{samples} samples taken: {reads:.1} reads each, {stopped}; 100 a second take {cpu_percent:.1} % of a core"
        )
    }
}

/// What all of it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether it can be profiled.
    pub works: bool,
    /// The exit status that `dump` would have.
    pub exit_status: u8,
    /// In words.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Report {
    /// Puts together what was found out.
    pub fn new(process: Option<Subject>, rules: Vec<Finding>, cost: Option<Cost>, verdict: Verdict) -> Report {
        Report { schema: SCHEMA, pysample: env!("CARGO_PKG_VERSION"), process, rules, cost, verdict }
    }

    /// Writes the report for a program.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Writes the report for a person.
    pub fn write_text(&self, colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        if let Some(process) = &self.process {
            let inside = process.pid_inside.map(|pid| format!(" ({pid} inside)")).unwrap_or_default();
            let container = process.container.as_ref().map(|text| format!(", {}", printable(text))).unwrap_or_default();
            writeln!(out, "Process {}{inside}{container}: {}\n", process.pid, command_line(&process.command))?;
        }
        let cost = self.cost.map(|cost| Finding::new("cost", Outcome::Told, cost.to_text()));
        let findings: Vec<&Finding> = self.rules.iter().chain(&cost).collect();
        let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
        findings.iter().try_for_each(|finding| finding.write(width, colour, out))?;
        writeln!(out, "\n{}", printable(&self.verdict.text))?;
        match &self.verdict.hint {
            Some(hint) => writeln!(out, "  hint: {}", printable(hint)),
            None => Ok(()),
        }
    }
}

impl Finding {
    fn write(&self, width: usize, colour: Colour, out: &mut dyn Write) -> io::Result<()> {
        let (word, foreground) = match self.outcome {
            Outcome::Fine => ("ok", AnsiColor::Green),
            Outcome::Refuses => ("refuses", AnsiColor::Red),
            Outcome::MayRefuse => ("may refuse", AnsiColor::Yellow),
            Outcome::Told => ("", AnsiColor::White),
        };
        let style = Style::new().fg_color(Some(anstyle::Color::Ansi(foreground)));
        let word = match colour {
            Colour::Ansi => format!("{style}{word:<10}{style:#}"),
            Colour::None => format!("{word:<10}"),
        };
        writeln!(out, "  {word}  {:<width$}  {}", self.name, printable(&self.value))?;
        for remedy in &self.remedies {
            writeln!(out, "  {:10}  {:width$}    {:<10}  {}", "", "", remedy.place.text(), printable(&remedy.line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::target::permission::{Mend, Place, Sides};

    fn report() -> Report {
        let subject = Subject {
            pid: 3127,
            pid_inside: Some(7),
            container: Some("docker abababababab".into()),
            command: vec!["python3".into(), "evil\x1b[31m".into()],
        };
        let remedies = vec![Remedy { place: Place::Docker, line: "docker run --cap-add SYS_PTRACE".into() }];
        let rules = vec![
            Finding::new("user", Outcome::Fine, "both are user 0, group 0"),
            Finding { remedies, ..Finding::new("process_vm_readv", Outcome::Refuses, "Operation not permitted") },
        ];
        let cost =
            Cost { samples: 25, reads: 2.4, stops: 12, stop_microseconds: 41.4, cpu_percent: 1.25, may_pause: true };
        let verdict =
            Verdict { works: true, exit_status: 0, text: "It can be profiled.".into(), hint: Some("do".into()) };
        Report::new(Some(subject), rules, Some(cost), verdict)
    }

    #[test]
    fn each_rule_is_a_line_and_what_mends_it_follows() {
        let mut out = Vec::new();
        report().write_text(Colour::None, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
Process 3127 (7 inside), docker abababababab: python3 evil\\x1b[31m

  ok          user              both are user 0, group 0
  refuses     process_vm_readv  Operation not permitted
                                  Docker      docker run --cap-add SYS_PTRACE
              cost              25 samples taken: 2.4 reads each, 12 of them stopped one thread, for 41 us in the median; \
             100 a second take 1.2 % of a core

It can be profiled.
  hint: do
"
        );
    }

    #[test]
    fn the_json_has_the_documented_shape() {
        let mut out = Vec::new();
        report().write_json(&mut out).unwrap();
        let told: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(told["schema"], 1);
        assert_eq!(told["process"]["pid_inside"], 7);
        assert_eq!(
            told["rules"][1],
            json!({
                "name": "process_vm_readv", "outcome": "refuses", "value": "Operation not permitted",
                "remedies": [{"place": "docker", "line": "docker run --cap-add SYS_PTRACE"}],
            })
        );
        assert_eq!(told["cost"]["stops"], 12);
        assert_eq!(
            told["verdict"],
            json!({"works": true, "exit_status": 0, "text": "It can be profiled.", "hint": "do"})
        );
    }

    #[test]
    fn what_a_sample_costs_is_told_in_words() {
        let cost = report().cost.unwrap();
        assert!(Cost { stops: 0, ..cost }.to_text().contains("no stop was needed"));
        assert!(Cost { may_pause: false, ..cost }.to_text().contains("as with --never-pause"));
    }

    #[test]
    fn every_remedy_has_a_place_and_a_line() {
        let all = [
            Mend::Capability,
            Mend::User,
            Mend::YamaParents,
            Mend::YamaForever,
            Mend::Namespace,
            Mend::Filter,
            Mend::Sandbox,
            Mend::Tracer,
        ];
        for remedies in all.map(|mend| mend.remedies(&Sides::default())) {
            assert!(!remedies.is_empty() && remedies.iter().all(|remedy| !remedy.line.contains('\n')));
        }
    }
}
