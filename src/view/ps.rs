//! The Python processes of a machine, as a table for people and as JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::dump::command_line;
use crate::printable::printable;

/// The version of the JSON's shape.
pub const SCHEMA: u32 = 1;
/// The most process ids that are shown of those that cannot be read.
const MOST_IDS: usize = 8;

/// What was found on a machine.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    schema: u32,
    pysample: &'static str,
    processes: Vec<Entry>,
    unreadable: Vec<Unreadable>,
    others: usize,
    may_miss_processes: bool,
}

/// A process that runs Python.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its id.
    pub pid: u32,
    /// Its id in its own PID namespace, where that is another than ours.
    pub pid_inside: Option<u32>,
    /// The user that it runs as.
    pub user: Option<u32>,
    /// What it runs in.
    pub container: Option<Container>,
    /// The version of its Python, as far as it is known.
    pub version: Option<String>,
    /// The kind of its build: release, debug, free-threaded.
    pub build: Option<String>,
    /// Why it cannot be profiled all the same.
    pub problem: Option<String>,
    /// Its share of one processor while the list was made, in percent.
    pub cpu_percent: Option<f64>,
    /// How many threads it has, those that do not run Python among them.
    pub threads: u32,
    /// Its command line.
    pub command: Vec<String>,
}

/// What a process runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container {
    /// What runs the container.
    pub engine: Option<&'static str>,
    /// The container's id.
    pub id: Option<String>,
    /// The UID of its Kubernetes pod.
    pub pod: Option<String>,
    /// The unit of systemd.
    pub unit: Option<String>,
    /// All of that in a few words.
    #[serde(skip)]
    pub text: String,
}

/// Processes that may not be read, and so may be Python or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Why.
    pub reason: String,
    /// Which.
    pub pids: Vec<u32>,
    /// Those among them that are called `python` something.
    pub called_python: Vec<u32>,
}

impl Listing {
    /// A list of what was found; `others` are processes that were read and do not run Python. Other users' processes may be
    /// hidden from us.
    pub fn new(
        mut processes: Vec<Entry>,
        unreadable: Vec<Unreadable>,
        others: usize,
        may_miss_processes: bool,
    ) -> Listing {
        let by_use = |entry: &Entry| std::cmp::Reverse((entry.cpu_percent.unwrap_or(0.0) * 10.0) as u64);
        processes.sort_by_key(|entry| (by_use(entry), entry.pid));
        let pysample = env!("CARGO_PKG_VERSION");
        Listing { schema: SCHEMA, pysample, processes, unreadable, others, may_miss_processes }
    }

    /// Writes the list for a program.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// Writes the list for a person.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.processes.is_empty() {
            writeln!(out, "No Python process is to be seen.")?;
        } else {
            let rows: Vec<[String; 7]> = std::iter::once(HEADINGS.map(String::from)).chain(self.rows()).collect();
            let widths: [usize; 7] =
                std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
            rows.iter().try_for_each(|row| write_row(out, row, widths))?;
        }
        self.unreadable.iter().try_for_each(|unreadable| unreadable.write(out))?;
        match self.may_miss_processes {
            true => writeln!(
                out,
                "Other users' processes are hidden (/proc is mounted with hidepid): as root, all are seen."
            ),
            false => Ok(()),
        }
    }

    fn rows(&self) -> impl Iterator<Item = [String; 7]> {
        self.processes.iter().map(|entry| {
            let version = match (&entry.version, entry.build.as_deref()) {
                (Some(version), None | Some("release")) => printable(version).into_owned(),
                (Some(version), Some(build)) => format!("{} {build}", printable(version)),
                (None, _) => "?".into(),
            };
            let problem =
                entry.problem.as_ref().map(|problem| format!(" ({})", printable(problem))).unwrap_or_default();
            [
                entry.pid.to_string(),
                entry.pid_inside.map_or("-".into(), |pid| pid.to_string()),
                entry.cpu_percent.map_or("?".into(), |percent| format!("{percent:.0}")),
                entry.threads.to_string(),
                version,
                entry.container.as_ref().map_or("-".into(), |container| printable(&container.text).into_owned()),
                format!("{}{problem}", shortened(command_line(&entry.command))),
            ]
        })
    }
}

/// The most characters of a command line.
const LONGEST_COMMAND: usize = 120;

fn shortened(command: String) -> String {
    match command.char_indices().nth(LONGEST_COMMAND) {
        Some((end, _)) => format!("{} ...", &command[..end]),
        None => command,
    }
}

const HEADINGS: [&str; 7] = ["PID", "INSIDE", "CPU %", "THREADS", "PYTHON", "CONTAINER", "COMMAND"];
/// Columns of numbers, which end where the others begin.
const NUMBERS: usize = 4;

fn write_row(out: &mut dyn Write, row: &[String; 7], widths: [usize; 7]) -> io::Result<()> {
    for (column, (text, width)) in row.iter().zip(widths).enumerate() {
        let gap = if column == 0 { "" } else { "  " };
        match column {
            ..NUMBERS => write!(out, "{gap}{text:>width$}")?,
            6 => write!(out, "{gap}{text}")?,
            _ => write!(out, "{gap}{text:<width$}")?,
        }
    }
    writeln!(out)
}

impl Unreadable {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (number, verb) = match self.pids.len() {
            1 => ("1 more process".into(), "it"),
            number => (format!("{number} more processes"), "them"),
        };
        let ids: Vec<String> = self.pids.iter().take(MOST_IDS).map(u32::to_string).collect();
        let more = if self.pids.len() > MOST_IDS { ", ..." } else { "" };
        write!(out, "{number} may not be read: {} ({}{more})", printable(&self.reason), ids.join(", "))?;
        match self.called_python.first() {
            Some(pid) => {
                writeln!(out, "; {} of {verb} called python: `pysample doctor --pid {pid}`", self.called_python.len())
            }
            None => writeln!(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(pid: u32, cpu_percent: f64) -> Entry {
        Entry {
            pid,
            pid_inside: None,
            user: Some(1000),
            container: None,
            version: Some("3.11.7".into()),
            build: Some("release".into()),
            problem: None,
            cpu_percent: Some(cpu_percent),
            threads: 3,
            command: vec!["python3".into(), "app.py".into()],
        }
    }

    fn listing() -> Listing {
        let container = Container {
            engine: Some("docker"),
            id: Some("ab".repeat(32)),
            pod: None,
            unit: None,
            text: "docker abababababab".into(),
        };
        let contained = Entry {
            pid_inside: Some(7),
            container: Some(container),
            build: Some("free-threaded".into()),
            version: Some("3.14.0".into()),
            ..entry(3127, 97.4)
        };
        let old =
            Entry { problem: Some("not supported".into()), command: vec!["evil\x1b[31m".into()], ..entry(9, 0.0) };
        let unreadable =
            Unreadable { reason: "it runs as user 0".into(), pids: (1..=10).collect(), called_python: vec![4] };
        Listing::new(vec![old, entry(5, 0.0), contained], vec![unreadable], 12, true)
    }

    #[test]
    fn the_busiest_come_first_and_what_cannot_be_read_is_counted() {
        let mut out = Vec::new();
        listing().write_text(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\x20PID  INSIDE  CPU %  THREADS  PYTHON                CONTAINER            COMMAND
3127       7     97        3  3.14.0 free-threaded  docker abababababab  python3 app.py
   5       -      0        3  3.11.7                -                    python3 app.py
   9       -      0        3  3.11.7                -                    evil\\x1b[31m (not supported)
10 more processes may not be read: it runs as user 0 (1, 2, 3, 4, 5, 6, 7, 8, ...); 1 of them called python: `pysample doctor --pid 4`
Other users' processes are hidden (/proc is mounted with hidepid): as root, all are seen.
"
        );
    }

    #[test]
    fn the_json_has_the_documented_shape() {
        let mut out = Vec::new();
        listing().write_json(&mut out).unwrap();
        let told: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(told["schema"], 1);
        assert_eq!(
            told["processes"][0],
            json!({
                "pid": 3127, "pid_inside": 7, "user": 1000,
                "container": {"engine": "docker", "id": "ab".repeat(32), "pod": null, "unit": null},
                "version": "3.14.0", "build": "free-threaded", "problem": null, "cpu_percent": 97.4, "threads": 3,
                "command": ["python3", "app.py"],
            })
        );
        assert_eq!(told["unreadable"][0]["called_python"], json!([4]));
        assert_eq!((&told["others"], &told["may_miss_processes"]), (&json!(12), &json!(true)));
    }

    #[test]
    fn nothing_is_told_as_such() {
        let mut out = Vec::new();
        Listing::new(vec![], vec![], 3, false).write_text(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "No Python process is to be seen.\n");
    }
}
