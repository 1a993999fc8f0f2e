//! Who holds the GIL and who waits for it: a recording that is told as text or JSON, and its waiting as a flame graph.

use std::io::{self, Write};

use pysample::aggregate::{GilAccount, Rules};
use pysample::error::Result;
use pysample::export::flamegraph::{Drawing, Heading};
use pysample::export::{Folded, Labels, Lines, Threads};
use pysample::output::Output;
use pysample::sample::{Code, Event, Tally};
use pysample::sampler::Settings;
use pysample::view::gil::Report;
use pysample::view::summary::{Ending, Summary};

use super::described::Described;
use super::follow::{Recorded, Sum};
use super::session::Purpose;
use super::{Exit, colour, print, record, rescue, tell};
use crate::plan::{Gil, Reach, Shape, Way};

/// What was seen, and where the waiting goes by stacks.
pub struct Seen {
    account: GilAccount,
    output: Option<Output>,
}

impl Sum for Seen {
    fn take(&mut self, event: Event) -> io::Result<()> {
        self.account.take(event);
        Ok(())
    }
}

impl Purpose for Gil {
    type Sum = Seen;
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

    fn begin(&self, _: &Described, output: Option<Output>) -> Result<Seen> {
        Ok(Seen { account: GilAccount::of(self.choice.rules.clone()), output })
    }

    fn may_wait(_: &Seen) -> bool {
        // The report goes to standard output, which may be a pipe.
        true
    }

    fn finish(&self, subject: &Described, recorded: Recorded<Seen>) -> Result<()> {
        let Seen { mut account, output } = recorded.sum;
        account.finish();
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
            left_out: account.left_out(),
            profile: None,
            throttled: recorded.throttled,
            end: recorded.end,
            written: None,
        };
        let printed = if recorded.end == Ending::NeverPython {
            Ok(Exit::Done)
        } else {
            let name = |code: &Code, line: Option<u32>| labels.frame(code, line);
            let process = subject.process().clone();
            let report = Report::new(process, &account, recorded.elapsed, &recorded.tally, &name)
                .with_throttling(recorded.throttled);
            print(|out| match self.shape {
                Shape::Json => report.write_json(out),
                Shape::Text => report.write_text(colour(), out),
            })
        };
        let mut outcome = Ok(());
        if let (Some(output), Some((_, format))) = (output, &self.output) {
            let (what, whose) = match account.has_gil() {
                true => ("the GIL", "whom the others waited for"),
                false => ("a lock", "where threads waited"),
            };
            let title = format!("{}: {whose}", subject.to_text());
            let looks = format!("{taken} looks in {:.1} s", recorded.elapsed.as_secs_f64());
            let subtitle = format!("one sample is one thread that waits for {what} at one of {looks}");
            let folded = Folded::new(&account.blame(), &labels);
            let heading = Heading { title, subtitle };
            if let Way::Stacks(write) = format.way() {
                let fill = |out: &mut dyn Write| write(&folded, &heading, Drawing::default(), out);
                (summary.written, outcome) = rescue::write(output, *format, &fill);
            }
        }
        tell(summary.to_string().trim_end());
        outcome.and(printed.map(|_| ()))
    }
}
