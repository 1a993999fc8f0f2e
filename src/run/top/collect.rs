//! The thread that takes the events of a recording, so that nothing that drawing waits for keeps them waiting.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, select};
use pysample::aggregate::live::Live;
use pysample::aggregate::{Filter, LeftOut, Rules};
use pysample::error::{Error, Result};
use pysample::recording::Writer;
use pysample::sample::{Event, Header};
use pysample::sampler::{Outcome, Recording, Stopper};

use super::super::spool::Spool;

/// How long events are left to gather when they are few, and when they are many: to wait for each would have the sampler
/// wake us each time.
const LONG_NAP: Duration = Duration::from_millis(100);
const SHORT_NAP: Duration = Duration::from_millis(4);
/// Events after one nap from which on they are many, and after which others get at what was collected.
const MANY: usize = 512;
const IN_A_ROW: usize = 1024;

/// What a recording has brought so far.
#[derive(Clone, Debug)]
pub struct Collected(Arc<Mutex<Live>>);

impl Collected {
    /// Looks at it; meanwhile nothing is added.
    pub fn look(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every event of a recording, kept to be saved as a recording; or why it is not.
#[derive(Clone)]
pub struct Whole(Arc<Mutex<io::Result<Writer<Spool>>>>);

impl Whole {
    /// Of a recording that begins now.
    pub fn new(header: &Header) -> Whole {
        Whole(Arc::new(Mutex::new(Writer::new(Spool::new(None), header))))
    }

    fn take(&self, event: &Event) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(writer) = &mut *kept
            && let Err(error) = writer.take(event)
        {
            *kept = Err(error);
        }
    }

    /// Writes it, as far as it has come.
    pub fn copy(&self, out: &mut dyn Write) -> io::Result<()> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(writer) => {
                writer.flush()?;
                writer.get_ref().copy(out)
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("the recording could not be kept: {error}"))),
        }
    }
}

/// A recording whose events are taken.
pub struct Collector {
    recording: Recording,
    collected: Collected,
    whole: Whole,
    /// Closes when the last event has been taken.
    over: Receiver<()>,
    thread: JoinHandle<LeftOut>,
}

impl Collector {
    /// Takes the events of a recording from now on.
    pub fn start(recording: Recording, rules: Rules, header: &Header, live: Live) -> Result<Collector> {
        let collected = Collected(Arc::new(Mutex::new(live)));
        let whole = Whole::new(header);
        let keep = whole.clone();
        let (sender, over) = crossbeam_channel::bounded::<()>(0);
        let (events, ended, into) = (recording.events().clone(), recording.ended().clone(), collected.clone());
        let thread = thread::Builder::new().name("collector".into()).spawn(move || {
            let _sender = sender;
            let mut filter = Filter::new(rules);
            collect(&events, &ended, &mut filter, (&into, &keep));
            filter.left_out
        });
        let thread = thread.map_err(Error::no_thread)?;
        Ok(Collector { recording, collected, whole, over, thread })
    }

    /// What has come so far.
    pub fn collected(&self) -> &Collected {
        &self.collected
    }

    /// All of what has come so far.
    pub fn whole(&self) -> &Whole {
        &self.whole
    }

    /// Closes when the last event has been taken.
    pub fn over(&self) -> &Receiver<()> {
        &self.over
    }

    /// Something to stop the recording with.
    pub fn stopper(&self) -> Stopper {
        self.recording.stopper()
    }

    /// Something to hold the recording back with.
    pub fn gate(&self) -> pysample::sampler::Gate {
        self.recording.gate()
    }

    /// Waits for the end of the recording, and for its last event.
    pub fn finish(self) -> (Collected, Outcome, LeftOut) {
        match self.thread.join() {
            Ok(left_out) => (self.collected, self.recording.finish(), left_out),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn collect(events: &Receiver<Event>, ended: &Receiver<()>, filter: &mut Filter, into: (&Collected, &Whole)) {
    loop {
        let (is_over, taken) = take_waiting(events, filter, into);
        if is_over {
            into.0.look().finish();
            return;
        }
        let nap = match taken {
            IN_A_ROW.. => Duration::ZERO,
            MANY.. => SHORT_NAP,
            _ => LONG_NAP,
        };
        if nap.is_zero() {
            thread::yield_now();
        } else {
            select! {
                recv(ended) -> _ => {}
                default(nap) => {}
            }
        }
    }
}

/// Takes events that have come. Whether none will come any more, and how many were taken.
fn take_waiting(events: &Receiver<Event>, filter: &mut Filter, into: (&Collected, &Whole)) -> (bool, usize) {
    let mut live = into.0.look();
    let mut end = (false, IN_A_ROW);
    for taken in 0..IN_A_ROW {
        match events.try_recv() {
            Ok(event) if filter.pass(&event) => {
                into.1.take(&event);
                live.take(event);
            }
            Ok(Event::Sample(unwanted)) => live.take_unwanted(unwanted),
            Ok(_) => {}
            Err(error) => {
                end = (error == TryRecvError::Disconnected, taken);
                break;
            }
        }
    }
    live.take_left_out(filter.left_out);
    end
}
