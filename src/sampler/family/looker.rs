//! Looks at processes on a thread of its own: is it Python? One that is large and is not takes as long as reading it does,
//! and nobody who watches for children can wait for that.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::super::clock;
use super::candidates::Answer;
use crate::error::{Error, Result};
use crate::python::{Interpreter, locate};
use crate::target::Target;
use crate::target::family::{Relative, program};

/// Questions that wait.
const MOST: usize = 1 << 14;

/// A process that is Python.
type Found = Box<(Target, Interpreter)>;

/// The thread. It ends when this is dropped.
pub struct Looker {
    questions: Option<Sender<Relative>>,
    answers: Receiver<(Answer, Result<Found>)>,
    thread: Option<JoinHandle<()>>,
    waiting: Arc<OnceLock<Thread>>,
    /// What it has used, in nanoseconds.
    used: Arc<AtomicU64>,
}

impl Looker {
    /// Starts the thread.
    pub fn new() -> Result<Looker> {
        let (questions, asked) = bounded::<Relative>(MOST);
        let (sender, answers) = bounded(MOST);
        let waiting: Arc<OnceLock<Thread>> = Arc::default();
        let woken = waiting.clone();
        let used: Arc<AtomicU64> = Arc::default();
        let account = used.clone();
        let tell = move |answer| {
            account.store(clock::thread_cpu_time().as_nanos() as u64, Ordering::Relaxed);
            let told = sender.send(answer);
            woken.get().into_iter().for_each(Thread::unpark);
            told
        };
        let thread = thread::Builder::new()
            .name("looker".into())
            .spawn(move || {
                // Whoever no longer wants to know has dropped the receiver.
                clock::ask_for_promptness();
                asked.into_iter().map(look).try_for_each(tell).unwrap_or_default();
            })
            .map_err(Error::no_thread)?;
        Ok(Looker { questions: Some(questions), answers, thread: Some(thread), waiting, used })
    }

    /// Wakes the calling thread, if it is parked, whenever there is an answer.
    pub fn wake_me(&self) {
        // Only the first that asks for it is woken.
        let _ = self.waiting.set(thread::current());
    }

    /// What processor time its looks have taken.
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Asks about a process.
    pub fn ask(&self, relative: Relative) {
        if let Some(questions) = &self.questions
            && let Err(TrySendError::Full(_)) = questions.try_send(relative)
        {
            debug_assert!(false, "there are no more processes than questions");
        }
    }

    /// What has been found out.
    pub fn answers(&self) -> impl Iterator<Item = (Answer, Result<Found>)> {
        self.answers.try_iter()
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        drop(self.questions.take());
        // What it has found out by now is not wanted, and must not keep it.
        self.answers = bounded(0).1;
        // A look that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn look(relative: Relative) -> (Answer, Result<Found>) {
    let (begun, program): (_, Option<PathBuf>) = (Instant::now(), program(relative.pid));
    let found = attach(relative.pid);
    (Answer { relative, program, cost: begun.elapsed() }, found)
}

fn attach(pid: u32) -> Result<Found> {
    let target = Target::attach(pid)?;
    let interpreter = locate(&target)?;
    Ok(Box::new((target, interpreter)))
}
