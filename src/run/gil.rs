//! Who holds the GIL and who waits for it: a recording that is told as text or JSON, and its waiting as a flame graph.

use pysample::aggregate::{GilAccount, Rules};
use pysample::error::Result;
use pysample::export::flamegraph::Heading;
use pysample::export::{Labels, Lines, Threads};
use pysample::output::Output;
use pysample::sample::{Code, Tally};
use pysample::sampler::Settings;
use pysample::view::gil::Report;
use pysample::view::summary::{Ending, Summary};

use super::described::Described;
use super::follow::Recorded;
use super::session::Purpose;
use super::{Exit, colour, print, record, tell};
use crate::plan::{Gil, Reach, Shape};

impl Purpose for Gil {
    type Sum = GilAccount;
    type Output = Option<Output>;

    fn sampling(&self) -> Settings {
        self.sampling
    }

    fn reach(&self) -> Reach {
        self.choice.reach
    }

    fn rules(&self) -> Rules {
        Rules::default()
    }

    fn sum(&self) -> GilAccount {
        GilAccount::of(self.choice.rules.clone())
    }

    fn check(&self) -> Result<Option<Option<Output>>> {
        match &self.output {
            Some((destination, _)) => Ok(record::check(destination)?.map(Some)),
            None => Ok(Some(None)),
        }
    }

    fn open(&self, program: &str, pid: u32) -> Result<Option<Output>> {
        let output = self.output.as_ref();
        output.map(|(destination, format)| record::open(destination, *format, program, pid)).transpose()
    }

    fn may_wait(_: &Option<Output>) -> bool {
        // The report goes to standard output, which may be a pipe.
        true
    }

    fn finish(&self, subject: &Described, mut recorded: Recorded<GilAccount>, output: Option<Output>) -> Result<()> {
        recorded.sum.finish();
        let Tally { taken, .. } = recorded.tally;
        let search_path = recorded.search_path.iter().cloned().collect();
        let processes = record::processes(self.choice.reach);
        let (lines, threads) = (Lines::Running, Threads::Merged);
        let labels = Labels { lines, files: self.files, threads, processes, search_path };
        let mut summary = Summary {
            subject: subject.to_text(),
            elapsed: recorded.elapsed,
            rate: self.sampling.rate,
            tally: recorded.tally,
            processes: (self.choice.reach == Reach::Family).then(|| recorded.processes.clone()),
            left_out: recorded.sum.left_out(),
            profile: None,
            end: recorded.end,
            written: None,
        };
        let printed = if recorded.end == Ending::NeverPython {
            Ok(Exit::Done)
        } else {
            let name = |code: &Code, line: Option<u32>| labels.frame(code, line);
            let process = subject.process().clone();
            let report = Report::new(process, &recorded.sum, recorded.elapsed, &recorded.tally, &name);
            print(|out| match self.shape {
                Shape::Json => report.write_json(out),
                Shape::Text => report.write_text(colour(), out),
            })
        };
        if let (Some(output), Some((_, format))) = (output, &self.output) {
            let (what, whose) = match recorded.sum.has_gil() {
                true => ("the GIL", "whom the others waited for"),
                false => ("a lock", "where threads waited"),
            };
            let title = format!("{}: {whose}", subject.to_text());
            let looks = format!("{taken} looks in {:.1} s", recorded.elapsed.as_secs_f64());
            let subtitle = format!("one sample is one thread that waits for {what} at one of {looks}");
            let blame = recorded.sum.blame();
            summary.written = Some(record::write(&blame, &labels, &Heading { title, subtitle }, *format, output)?);
        }
        tell(summary.to_string().trim_end());
        printed.map(|_| ())
    }
}
