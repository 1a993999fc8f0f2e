//! The view as it goes on: pictures are drawn when something is new, keys and signals are taken as they come. Nothing here
//! is waited for by the recording.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use pysample::aggregate::live::Live;
use pysample::error::{Error, Result};
use pysample::target::command::Command;
use pysample::view::summary::Ending;
use pysample::view::top::{Action, Look, Paint, Scene, State, View, draw};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, MouseEventKind};

use super::super::described::Described;
use super::super::follow::{ended, what};
use super::super::notices::{Notice, Notices};
use super::super::suspend::{Wish, Wishes};
use super::Over;
use super::collect::{Collected, Collector, Whole};
use super::printed::Printed;
use super::save::{Profile, dump, moments};
use super::screen::Screen;
use super::sources::{Surroundings, pid_of};
use crate::plan::{Reach, Top};

/// A picture is drawn so often when nothing is pressed, and at most so often.
const EVERY: Duration = Duration::from_millis(500);
const AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// How often the processor is looked at.
const USAGE_EVERY: Duration = Duration::from_secs(1);
/// Keys that wait to be taken.
const KEYS: usize = 256;

/// How a view was left.
pub struct Left {
    /// The recording.
    pub over: Over,
    /// What was saved, in words.
    pub saved: Vec<String>,
    /// Whether a command that still runs should be interrupted.
    pub is_interrupted: bool,
}

/// A view under way.
struct App<'a> {
    plan: &'a Top,
    subject: &'a Described,
    notices: &'a Notices,
    wishes: &'a Wishes,
    collector: Option<Collector>,
    collected: Collected,
    whole: Whole,
    over: Option<Over>,
    /// The command has ended.
    has_exited: bool,
    began: Instant,
    /// What is shown instead of what comes.
    frozen: Option<Live>,
    ended: Option<String>,
    around: Surroundings,
    looked: Option<Instant>,
    state: State,
    dump: Vec<String>,
    command: Option<&'a Command>,
    printed: Option<&'a Printed>,
    remarks: usize,
    saved: Vec<String>,
    screen: Screen,
    drawn: Option<Instant>,
    is_dirty: bool,
    /// A key that was pressed before the picture that it means could be drawn.
    held: Option<Event>,
}

/// Whether the view goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    /// It was left.
    Away,
    /// It was left with Ctrl-C.
    Interrupted,
}

/// Shows a recording until the user has seen enough.
pub fn show(
    plan: &Top,
    subject: &Described,
    notices: &Notices,
    collector: Collector,
    (command, printed): (Option<&Command>, Option<&Printed>),
) -> Result<Left> {
    let mut state = State::new(plan.mode, plan.window);
    state.has_output = printed.is_some();
    let around = Surroundings::of(subject.process().pid);
    let (keys, wishes) = (keys()?, Wishes::listen()?);
    let screen = Screen::enter().map_err(|source| Error::Io { what: "cannot use the terminal".into(), source })?;
    let mut app = App {
        plan,
        subject,
        notices,
        wishes: &wishes,
        collected: collector.collected().clone(),
        whole: collector.whole().clone(),
        collector: Some(collector),
        over: None,
        has_exited: false,
        began: Instant::now(),
        frozen: None,
        ended: None,
        around,
        looked: None,
        state,
        dump: Vec::new(),
        command,
        printed,
        remarks: 0,
        saved: Vec::new(),
        screen,
        drawn: None,
        is_dirty: true,
        held: None,
    };
    let mut go = Go::On;
    while go == Go::On {
        go = app.step(&keys);
    }
    Ok(app.leave(go))
}

/// Keys and the mouse, as they come.
fn keys() -> Result<Receiver<Event>> {
    let (sender, receiver): (Sender<Event>, _) = bounded(KEYS);
    let read = move || {
        while let Ok(event) = event::read() {
            if means_something(&event) && sender.send(event).is_err() {
                return;
            }
        }
    };
    match thread::Builder::new().name("keys".into()).spawn(read) {
        Ok(_) => Ok(receiver),
        Err(source) => Err(Error::no_thread(source)),
    }
}

impl App<'_> {
    fn step(&mut self, keys: &Receiver<Event>) -> Go {
        self.look();
        if self.until_drawn().is_zero() && !self.draw() {
            return Go::Away;
        }
        // A key means what the picture shows, so that has to be the newest.
        if !self.is_dirty
            && let Some(event) = self.held.take()
        {
            return self.take_all(event, keys);
        }
        let keys = if self.is_dirty { &never() } else { keys };
        let over = self.collector.as_ref().map_or_else(never, |collector| collector.over().clone());
        select! {
            recv(keys) -> event => match event {
                Ok(event) => self.take_all(event, keys),
                // There is nothing to type on any more: a signal ends us.
                Err(_) => { thread::sleep(AT_MOST_EVERY); Go::On }
            },
            recv(self.notices.receiver()) -> notice => self.hear(notice.expect("the notices hold a sender themselves")),
            recv(self.wishes.receiver) -> wish => self.wish(wish),
            recv(over) -> _ => { self.end(); Go::On }
            default(self.until_drawn()) => Go::On,
        }
    }

    /// How long it is until the next picture.
    fn until_drawn(&self) -> Duration {
        let Some(drawn) = self.drawn else { return Duration::ZERO };
        let every = match self.is_dirty {
            true => AT_MOST_EVERY,
            false => EVERY,
        };
        every.saturating_sub(drawn.elapsed())
    }

    fn draw(&mut self) -> bool {
        if !self.screen.is_ours() {
            return false;
        }
        let output = self.printed.map(Printed::lines).filter(|_| self.state.view == View::Output).unwrap_or_default();
        let look = Look { paint: paint(), charset: self.plan.charset };
        let App { state, screen, collected, frozen, .. } = self;
        let (subject, plan, around, ended, dump) =
            (self.subject, self.plan, &self.around, self.ended.as_deref(), &self.dump);
        let picture = |frame: &mut ratatui::Frame| {
            // Nothing is added meanwhile; it is not written to the terminal meanwhile either.
            let looked;
            let live = match frozen {
                Some(frozen) => &*frozen,
                None => {
                    looked = collected.look();
                    &looked
                }
            };
            let scene = Scene {
                live,
                program: &subject.program,
                rate: plan.sampling.rate,
                uptime: around.uptime(live, state.of.process),
                throttled: around.throttle.lately(),
                ended,
                sources: &around.files,
                dump,
                output: &output,
            };
            draw(frame, &scene, state, look);
        };
        let is_drawn = screen.draw(picture).is_ok();
        self.drawn = Some(Instant::now());
        self.is_dirty = self.read_source();
        is_drawn
    }

    /// Reads the source that the last picture lacked.
    fn read_source(&mut self) -> bool {
        let Some((process, path)) = self.state.wants_source.take() else { return false };
        let pid = pid_of(&self.collected.look(), process);
        self.around.read(pid, &path)
    }

    /// Looks at the processes, once a second, and for remarks.
    fn look(&mut self) {
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= USAGE_EVERY);
        if self.ended.is_some() || !is_due {
            return;
        }
        self.looked = Some(Instant::now());
        let mut live = self.collected.look();
        self.around.look(&mut live, self.began.elapsed());
        if let Some(remark) = live.remarks().get(self.remarks) {
            self.remarks += 1;
            self.state.notice = Some(what(*remark, self.plan.sampling.max_cpu).into());
        }
    }

    /// Takes a key, and what is typed or scrolled that has come meanwhile. What comes after that waits for a picture of it.
    fn take_all(&mut self, first: Event, keys: &Receiver<Event>) -> Go {
        let mut next = Some(first);
        while let Some(event) = next {
            self.is_dirty = true;
            let action = match event {
                // The terminal had another one meanwhile, of which nothing is known.
                Event::Resize(width, height) if self.screen.drawn_size() == (width, height) => Action::Redraw,
                _ => self.state.take(&event),
            };
            let go = self.act(action);
            if go != Go::On {
                return go;
            }
            next = if self.needs_no_picture(&event) { keys.try_recv().ok() } else { None };
            self.held = next.take_if(|next| !self.needs_no_picture(next));
        }
        Go::On
    }

    /// Whether it is the same whatever is shown, and what comes after it may be.
    fn needs_no_picture(&self, event: &Event) -> bool {
        self.state.typing.is_some() || is_scrolling(event)
    }

    fn act(&mut self, action: Action) -> Go {
        match action {
            Action::None => {}
            Action::Quit => return Go::Away,
            Action::Interrupt => return Go::Interrupted,
            Action::Suspend => return self.suspend(true),
            Action::Save => self.save(),
            Action::Reset => {
                self.collected.look().reset();
                if let Some(frozen) = &mut self.frozen {
                    frozen.reset();
                }
                self.state.epoch += 1;
            }
            Action::Freeze => {
                self.frozen = match self.frozen {
                    Some(_) => None,
                    None => Some(self.collected.look().clone()),
                };
                self.state.is_frozen = self.frozen.is_some();
                self.state.epoch += 1;
            }
            Action::Dump => self.dump(),
            Action::Redraw => return self.take_screen(),
        }
        Go::On
    }

    /// Files are read for it: meanwhile what was collected is not looked at, so that it is not kept from growing.
    fn dump(&mut self) {
        let App { frozen, collected, state, subject, around, .. } = self;
        let moments = match &*frozen {
            Some(frozen) => moments(frozen, state.of.process),
            None => moments(&collected.look(), state.of.process),
        };
        self.dump = dump(moments, subject, around, |file| match &*frozen {
            Some(frozen) => frozen.keys().short(file).into(),
            None => collected.look().keys().short(file).into(),
        });
    }

    fn save(&mut self) {
        let App { plan, subject, state, .. } = self;
        let profile = |live: &Live| Profile::new(live, state.mode, plan.files, subject, plan.sampling.rate);
        let profile = match &self.frozen {
            Some(frozen) => profile(frozen),
            None => profile(&self.collected.look()),
        };
        self.state.notice = Some(match profile.save(&self.subject.program, self.subject.process().pid, &self.whole) {
            Ok(saved) => {
                self.saved.push(saved.clone());
                saved
            }
            Err(error) => format!("not saved: {error}"),
        });
    }

    fn hear(&mut self, notice: Notice) -> Go {
        match notice {
            Notice::Signal(signal) => {
                self.command.iter().for_each(|command| signal.forward(command));
                if signal.ends() { Go::Away } else { Go::On }
            }
            // What it has started may live on.
            Notice::CommandEnded if self.plan.choice.reach == Reach::Family => Go::On,
            Notice::CommandEnded => {
                self.has_exited = true;
                self.collector.iter().for_each(|collector| collector.stopper().stop());
                Go::On
            }
        }
    }

    fn wish(&mut self, wish: std::result::Result<Wish, crossbeam_channel::RecvError>) -> Go {
        match wish {
            Ok(Wish::Stop) => self.suspend(false),
            Ok(Wish::GoOn) => self.take_screen(),
            Err(_) => Go::On,
        }
    }

    /// Stops, at once or if that is still wished, until somebody has us go on. No thread of the target is stopped meanwhile.
    fn suspend(&mut self, at_once: bool) -> Go {
        let gate = self.collector.as_ref().map(Collector::gate);
        let closed = gate.as_ref().map(pysample::sampler::Gate::close);
        let began = Instant::now();
        self.screen.leave();
        if let Err(error) = self.wishes.stop(at_once) {
            self.state.notice = Some(format!("not stopped: {error}"));
        }
        let go = self.take_screen();
        if closed.is_some() {
            self.collected.look().leave_out(began.elapsed());
        }
        drop(closed);
        go
    }

    /// Takes the terminal, whatever became of it meanwhile.
    fn take_screen(&mut self) -> Go {
        self.is_dirty = true;
        self.drawn = None;
        if self.screen.take().is_ok() { Go::On } else { Go::Away }
    }

    /// The recording is over; what was seen last stays.
    fn end(&mut self) {
        let Some(collector) = self.collector.take() else { return };
        let (_, outcome, left_out) = collector.finish();
        let end = ended(self.plan.choice.reach, self.has_exited, &outcome);
        self.is_dirty = true;
        self.ended = Some(match end {
            Ending::Duration => "the time is up".into(),
            Ending::TargetReplaced => "it became a program that is not Python".into(),
            Ending::TargetForbidden => "it became one that we may not read".into(),
            Ending::Stopped => "the recording was stopped".into(),
            Ending::TargetExited | Ending::NeverPython => "the process has ended".into(),
            Ending::FamilyEnded => "it and its Python descendants have ended".into(),
        });
        let throttled = self.around.throttle.altogether();
        self.over = Some(Over { outcome, left_out, throttled, end });
    }

    fn leave(mut self, go: Go) -> Left {
        self.screen.leave();
        if let Some(collector) = &self.collector {
            collector.stopper().stop();
        }
        self.end();
        let over = self.over.take().expect("the recording is over");
        Left { over, saved: self.saved, is_interrupted: go == Go::Interrupted }
    }
}

/// Whether anything can be done with it. Of a mouse that is moved about nothing is, and it would be drawn each time.
fn means_something(event: &Event) -> bool {
    match event {
        Event::Key(key) => key.kind != KeyEventKind::Release,
        Event::Mouse(mouse) => {
            matches!(mouse.kind, MouseEventKind::Down(_) | MouseEventKind::ScrollUp | MouseEventKind::ScrollDown)
        }
        Event::Resize(..) => true,
        Event::FocusGained | Event::FocusLost | Event::Paste(_) => false,
    }
}

/// Whether it only moves about, or asks for a picture of another size: done at once however often it comes.
fn is_scrolling(event: &Event) -> bool {
    match event {
        Event::Key(key) => matches!(
            key.code,
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown | KeyCode::Char('j' | 'k')
        ),
        Event::Mouse(mouse) => !matches!(mouse.kind, MouseEventKind::Down(_)),
        Event::Resize(..) => true,
        _ => false,
    }
}

/// Whether there are to be colours.
pub fn paint() -> Paint {
    match std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        true => Paint::Plain,
        false => Paint::Colours,
    }
}
