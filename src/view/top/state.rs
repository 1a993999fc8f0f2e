//! What the user has chosen to see, and how keys and the mouse change it. What a key does beyond that, such as saving, is told
//! as an [`Action`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind};
use ratatui::layout::{Position, Rect};
use regex_lite::{Regex, RegexBuilder};

use super::columns::Column;
use crate::aggregate::live::{KeyId, LONGEST, Level, Mode, Of, Row, Span, Subtree};
use crate::sample::{ProcessId, ThreadId};

/// Lengths of the window to choose from, in seconds.
const WINDOWS: [u64; 6] = [1, 2, 5, 10, 30, LONGEST.as_secs()];

/// Bytes of a filter: it is put together anew with each key, and what is pasted by mistake is longer.
const MOST_TYPED: usize = 300;

/// A view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// The table of functions.
    #[default]
    Functions,
    /// The call tree.
    Tree,
    /// The threads.
    Threads,
    /// Who holds the GIL.
    Gil,
    /// A dump of one moment.
    Moment,
    /// What the command printed.
    Output,
}

impl View {
    /// Every one, in their order.
    pub const ALL: [View; 6] = [View::Functions, View::Tree, View::Threads, View::Gil, View::Moment, View::Output];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            View::Functions => "Functions",
            View::Tree => "Tree",
            View::Threads => "Threads",
            View::Gil => "GIL",
            View::Moment => "Dump",
            View::Output => "Output",
        }
    }
}

/// What shares are shares of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whole {
    /// All samples that count.
    #[default]
    Samples,
    /// The time: one thread that always counts is 100 %.
    Time,
}

/// What is to be done beyond what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Leave.
    Quit,
    /// Leave, as Ctrl-C would.
    Interrupt,
    /// Stop, as Ctrl-Z would.
    Suspend,
    /// Write what was collected.
    Save,
    /// Forget what was collected.
    Reset,
    /// Show no news, or go on.
    Freeze,
    /// Dump the moment.
    Dump,
    /// Draw all anew.
    Redraw,
}

/// Where one is in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The row.
    pub row: usize,
    /// What is in it, once the user has chosen: rows move.
    pub chosen: Option<u64>,
    /// The first row shown.
    pub top: usize,
    /// Rows there were, and rows that fit.
    pub rows: usize,
    /// Rows that fit.
    pub fits: usize,
}

impl Cursor {
    /// Finds what was chosen among rows, and makes it visible. `id` tells what is in a row.
    pub fn place(&mut self, rows: usize, fits: usize, id: impl Fn(usize) -> u64) {
        (self.rows, self.fits) = (rows, fits);
        if let Some(chosen) = self.chosen {
            match (0..rows).find(|&row| id(row) == chosen) {
                Some(row) => self.row = row,
                None => self.chosen = None,
            }
        }
        self.row = self.row.min(rows.saturating_sub(1));
        self.top =
            self.top.min(self.row).max((self.row + 1).saturating_sub(fits)).min(rows.saturating_sub(fits.min(rows)));
        if self.chosen.is_none() && self.row > 0 && self.row < rows {
            self.chosen = Some(id(self.row));
        }
    }

    fn by(&mut self, rows: isize) {
        self.to(self.row.saturating_add_signed(rows));
    }

    fn to(&mut self, row: usize) {
        self.row = row.min(self.rows.saturating_sub(1));
        self.chosen = None;
    }
}

/// What is clicked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A view's name.
    View(View),
    /// A column's heading.
    Column(Column),
    /// A row.
    Row(usize),
}

/// A function (or line, file, module) that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What it is.
    pub level: Level,
    /// Which.
    pub key: KeyId,
    /// Who calls it and what it calls.
    pub cursor: Cursor,
    /// Lines of source below the one that is shown first by itself.
    pub scroll: isize,
}

/// What filters rows by their text.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// As typed.
    pub text: String,
    /// How it is meant.
    pub kind: FilterKind,
    regex: Option<Result<Regex, String>>,
}

/// How a filter is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterKind {
    /// As a part of the text, in whatever case.
    #[default]
    Text,
    /// As a regular expression.
    Regex,
}

/// A filter that is being typed.
#[derive(Clone, Debug, Default)]
pub struct Typing {
    /// As typed so far.
    pub typed: Filter,
    before: Filter,
}

impl Filter {
    /// A filter.
    pub fn new(kind: FilterKind, text: String) -> Filter {
        let pattern = match kind {
            FilterKind::Text => regex_lite::escape(&text),
            FilterKind::Regex => text.clone(),
        };
        let regex = (!text.is_empty())
            .then(|| RegexBuilder::new(&pattern).case_insensitive(true).build().map_err(|error| error.to_string()));
        Filter { text, kind, regex }
    }

    /// Whether it lets a text through.
    pub fn lets(&self, text: &str) -> bool {
        match &self.regex {
            Some(Ok(regex)) => regex.is_match(text),
            _ => true,
        }
    }

    /// Whether it may keep anything back.
    pub fn is_set(&self) -> bool {
        !self.text.is_empty()
    }

    /// What is wrong with it.
    pub fn error(&self) -> Option<&str> {
        self.regex.as_ref()?.as_ref().err().map(String::as_str)
    }
}

/// Totals, which are not added up anew for each picture where that takes long.
#[derive(Clone, Debug)]
pub struct Totals {
    pub(super) level: Level,
    pub(super) of: Of,
    pub(super) at: Duration,
    pub(super) epoch: u64,
    pub(super) subtree: Arc<Subtree>,
    pub(super) rows: Arc<Vec<Row>>,
}

/// What the user has chosen to see.
#[derive(Debug, Default)]
pub struct State {
    /// The view.
    pub view: View,
    /// What is opened in depth; the last is shown.
    pub opened: Vec<Opened>,
    /// Whether the help is shown.
    pub help: bool,
    /// The first row of it that is shown, and the last that can be the first; 0 where all fit.
    pub(super) help_top: usize,
    pub(super) help_last: usize,
    /// Which samples count.
    pub mode: Mode,
    /// What frames are put together by.
    pub level: Level,
    window: Option<usize>,
    /// Whether tree, function and GIL are shown for all the time and not for the window.
    pub of_all_time: bool,
    /// What shares are shares of.
    pub whole: Whole,
    /// What the functions are sorted by.
    pub sort: Column,
    /// Whether they are sorted the other way round.
    pub is_reversed: bool,
    /// What rows must have in them: as it is being typed, if that can be.
    pub filter: Filter,
    /// A filter that is being typed.
    pub typing: Option<Typing>,
    /// Which threads.
    pub of: Of,
    /// Whether no news is shown.
    pub is_frozen: bool,
    /// Whether there is a command whose output is shown.
    pub has_output: bool,
    /// Branches that are open; `None` until the tree is first shown.
    pub open: Option<HashSet<u64>>,
    /// A branch below which the hottest path is to be opened.
    pub unfold: Option<Option<u64>>,
    /// Where one is in each view.
    pub cursors: [Cursor; View::ALL.len()],
    /// How often all was reset.
    pub epoch: u64,
    /// What the line at the bottom says, until the next key.
    pub notice: Option<String>,
    /// The source file that would be shown if it were there.
    pub wants_source: Option<(ProcessId, Arc<str>)>,
    pub(super) totals: Option<Totals>,
    pub(super) processes: Vec<ProcessId>,
    pub(super) hits: Vec<(Rect, Hit)>,
    /// What is in the row where one is, as the last picture had it.
    pub(super) at: At,
}

/// What is in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// Nothing.
    #[default]
    Nothing,
    /// Something to open.
    Key(Level, KeyId),
    /// A branch.
    Branch(KeyId, u64),
    /// A thread.
    Thread(ThreadId),
}

impl State {
    /// At first.
    pub fn new(mode: Mode, window: u64) -> State {
        let mut state = State { mode, ..State::default() };
        state.set_window(window);
        state
    }

    /// How long the window is.
    pub fn window(&self) -> Duration {
        const USUAL: usize = 2;
        Duration::from_secs(WINDOWS[self.window.unwrap_or(USUAL)])
    }

    /// Makes the window as long as one of those to choose from.
    fn set_window(&mut self, seconds: u64) {
        self.window = WINDOWS.iter().position(|&window| window >= seconds).or(Some(WINDOWS.len() - 1));
    }

    /// What tree, function and GIL are shown for.
    pub fn span(&self) -> Span {
        if self.of_all_time { Span::All } else { Span::Window(self.window()) }
    }

    pub(super) fn cursor(&mut self) -> &mut Cursor {
        match self.opened.last_mut() {
            Some(opened) => &mut opened.cursor,
            None => &mut self.cursors[self.view as usize],
        }
    }

    /// Takes a key, or the mouse. What is to be done beyond what is shown?
    pub fn take(&mut self, event: &Event) -> Action {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key),
            Event::Mouse(mouse) => {
                let at = Position { x: mouse.column, y: mouse.row };
                match mouse.kind {
                    MouseEventKind::Down(MouseButton::Left) => return self.click(at),
                    MouseEventKind::ScrollDown => self.by(3),
                    MouseEventKind::ScrollUp => self.by(-3),
                    _ => {}
                }
                Action::None
            }
            _ => Action::None,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Action {
        self.notice = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Action::Interrupt,
                KeyCode::Char('z') => return Action::Suspend,
                KeyCode::Char('l') => return Action::Redraw,
                _ => {}
            }
        }
        if self.typing.is_some() {
            self.type_filter(key);
            return Action::None;
        }
        if self.help {
            if self.help_last > 0 && self.scroll_help(key.code) {
                return Action::None;
            }
            self.help = false;
            return if key.code == KeyCode::Char('q') { Action::Quit } else { Action::None };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::F(10) => return Action::Quit,
            KeyCode::Char('s') => return Action::Save,
            KeyCode::Char('r') => return Action::Reset,
            KeyCode::Char(' ') => return Action::Freeze,
            KeyCode::Char('d') => {
                self.show(View::Moment);
                return Action::Dump;
            }
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => (self.help, self.help_top) = (true, 0),
            KeyCode::Char(digit @ '1'..='6') => return self.show(View::ALL[digit as usize - '1' as usize]),
            KeyCode::Tab => return self.turn(1),
            KeyCode::BackTab => return self.turn(View::ALL.len() - 1),
            KeyCode::Char('m') => self.mode = next(&Mode::ALL, self.mode),
            KeyCode::Char('l') => self.turn_level(),
            KeyCode::Char('w' | '+') => self.turn_window(1),
            KeyCode::Char('W' | '-') => self.turn_window(-1),
            KeyCode::Char('a') => self.of_all_time = !self.of_all_time,
            KeyCode::Char('%') => self.whole = if self.whole == Whole::Time { Whole::Samples } else { Whole::Time },
            KeyCode::Char('R') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('>') => self.sort_by(self.sort.beside(1)),
            KeyCode::Char('<') => self.sort_by(self.sort.beside(-1)),
            KeyCode::Char('/') => self.begin_typing(FilterKind::Text),
            KeyCode::Char('~') => self.begin_typing(FilterKind::Regex),
            KeyCode::Char('t') => self.choose_thread(),
            KeyCode::Char('p') => self.turn_process(),
            KeyCode::Char('e' | '*') => self.unfold_hottest(),
            _ => self.go(key.code),
        }
        Action::None
    }

    /// True if it is a key that scrolls.
    fn scroll_help(&mut self, key: KeyCode) -> bool {
        const PAGE: isize = 5;
        let by = match key {
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::PageDown => PAGE,
            KeyCode::PageUp => -PAGE,
            _ => return false,
        };
        self.by(by);
        true
    }

    fn go(&mut self, key: KeyCode) {
        let page = self.cursor().fits.max(2) as isize - 1;
        match key {
            KeyCode::Down | KeyCode::Char('j') => self.by(1),
            KeyCode::Up | KeyCode::Char('k') => self.by(-1),
            KeyCode::PageDown => self.page(page),
            KeyCode::PageUp => self.page(-page),
            KeyCode::Home | KeyCode::Char('g') => self.cursor().to(0),
            KeyCode::End | KeyCode::Char('G') => self.cursor().to(usize::MAX),
            KeyCode::Enter => self.enter(),
            KeyCode::Right => self.right(),
            KeyCode::Left => self.left(),
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            _ => {}
        }
    }

    /// Up or down by some rows.
    fn by(&mut self, rows: isize) {
        if self.help {
            self.help_top = self.help_top.saturating_add_signed(rows).min(self.help_last);
            return;
        }
        match (self.opened.is_empty(), self.view) {
            // These have no row where one is: they scroll.
            (true, View::Moment | View::Output) => {
                let cursor = self.cursor();
                let last = cursor.rows.saturating_sub(cursor.fits);
                cursor.top = cursor.top.saturating_add_signed(rows).min(last);
                cursor.row = cursor.top;
                cursor.chosen = None;
            }
            _ => self.cursor().by(rows),
        }
    }

    fn page(&mut self, rows: isize) {
        match self.opened.last_mut() {
            Some(opened) => opened.scroll += rows.signum() * 5,
            None => self.by(rows),
        }
    }

    fn show(&mut self, view: View) -> Action {
        if view == View::Output && !self.has_output {
            return Action::None;
        }
        self.opened.clear();
        self.at = At::Nothing;
        let is_new = self.view != view;
        self.view = view;
        match view {
            View::Moment if is_new => Action::Dump,
            View::Tree if self.open.is_none() => {
                self.unfold = Some(None);
                Action::None
            }
            _ => Action::None,
        }
    }

    fn turn(&mut self, by: usize) -> Action {
        let views = if self.has_output { View::ALL.len() } else { View::ALL.len() - 1 };
        let by = if by == 1 { 1 } else { views - 1 };
        self.show(View::ALL[(self.view as usize + by) % views])
    }

    fn turn_level(&mut self) {
        self.level = next(&Level::ALL, self.level);
        self.cursors[View::Functions as usize] = Cursor::default();
        self.cursors[View::Tree as usize] = Cursor::default();
        self.opened.clear();
        self.open = None;
        self.unfold = Some(None);
    }

    fn turn_window(&mut self, by: isize) {
        let at = WINDOWS.iter().position(|&window| window == self.window().as_secs()).unwrap_or(0);
        self.window = Some(at.saturating_add_signed(by).min(WINDOWS.len() - 1));
    }

    fn sort_by(&mut self, column: Column) {
        self.is_reversed = if self.sort == column { !self.is_reversed } else { false };
        self.sort = column;
    }

    fn choose_thread(&mut self) {
        match (self.view, self.at, self.of.thread) {
            (_, _, Some(_)) => self.of.thread = None,
            (View::Threads | View::Gil, At::Thread(thread), None) => self.of.thread = Some(thread),
            _ => {
                self.show(View::Threads);
                self.notice = Some("choose a thread and press t, or Enter".into());
            }
        }
    }

    /// Only one process, the next; or all again.
    fn turn_process(&mut self) {
        let processes = &self.processes;
        if processes.len() < 2 && self.of.process.is_none() {
            self.notice = Some("there is only one process".into());
            return;
        }
        self.of.thread = None;
        self.of.process = match self.of.process {
            Some(now) => processes.iter().copied().skip_while(|&it| it != now).nth(1),
            None => processes.first().copied(),
        };
    }

    fn enter(&mut self) {
        match self.at {
            At::Key(level, key) => self.open_key(level, key),
            At::Branch(key, _) => self.open_key(self.level, key),
            At::Thread(thread) => {
                self.of.thread = Some(thread);
                self.show(View::Functions);
            }
            At::Nothing => {}
        }
    }

    fn open_key(&mut self, level: Level, key: KeyId) {
        /// Further back nobody goes.
        const MOST: usize = 50;
        if self.opened.len() >= MOST {
            self.opened.remove(0);
        }
        self.opened.push(Opened { level, key, cursor: Cursor::default(), scroll: 0 });
    }

    fn right(&mut self) {
        match (self.opened.is_empty(), self.view, self.at) {
            (true, View::Tree, At::Branch(_, path)) => drop(self.open.get_or_insert_default().insert(path)),
            (true, View::Functions, _) => self.sort_by(self.sort.beside(1)),
            _ => {}
        }
    }

    fn left(&mut self) {
        match (self.opened.is_empty(), self.view, self.at) {
            (true, View::Tree, At::Branch(_, path)) => drop(self.open.get_or_insert_default().remove(&path)),
            (true, View::Functions, _) => self.sort_by(self.sort.beside(-1)),
            (false, ..) => self.back(),
            _ => {}
        }
    }

    fn unfold_hottest(&mut self) {
        if self.view == View::Tree && self.opened.is_empty() {
            self.unfold = Some(match self.at {
                At::Branch(_, path) => Some(path),
                _ => None,
            });
        }
    }

    /// Out of what was opened, then out of filters.
    fn back(&mut self) {
        if self.opened.pop().is_some() {
            return;
        }
        if self.filter.is_set() {
            self.filter = Filter::default();
        } else {
            self.of = Of::default();
        }
    }

    fn click(&mut self, at: Position) -> Action {
        self.notice = None;
        if std::mem::take(&mut self.help) {
            return Action::None;
        }
        match self.hits.iter().find(|(area, _)| area.contains(at)).map(|(_, hit)| *hit) {
            Some(Hit::View(view)) => return self.show(view),
            Some(Hit::Column(column)) => self.sort_by(column),
            Some(Hit::Row(row)) if self.cursor().row == row => match (self.view, self.at) {
                (View::Tree, At::Branch(_, path)) if self.opened.is_empty() => {
                    let open = self.open.get_or_insert_default();
                    if !open.remove(&path) {
                        open.insert(path);
                    }
                }
                _ => self.enter(),
            },
            Some(Hit::Row(row)) => self.cursor().to(row),
            None => {}
        }
        Action::None
    }

    fn begin_typing(&mut self, kind: FilterKind) {
        let before = std::mem::take(&mut self.filter);
        self.typing = Some(Typing { typed: Filter::new(kind, String::new()), before });
    }

    /// One that cannot be is not kept: what was in force before stays so, and the prompt stays, too.
    fn type_filter(&mut self, key: KeyEvent) {
        let Some(Typing { typed, before }) = self.typing.take() else { return };
        let Filter { mut text, kind, regex } = typed.clone();
        let mut is_kind = kind;
        match key.code {
            KeyCode::Enter if !matches!(regex, Some(Err(_))) => return,
            KeyCode::Esc => {
                self.filter = before;
                return;
            }
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Tab => is_kind = if kind == FilterKind::Text { FilterKind::Regex } else { FilterKind::Text },
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => text.clear(),
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) && text.len() < MOST_TYPED => {
                text.push(c)
            }
            _ => {}
        }
        let typed = match (is_kind, &text) == (kind, &typed.text) {
            true => typed,
            false => Filter::new(is_kind, text),
        };
        self.filter = if typed.error().is_none() { typed.clone() } else { before.clone() };
        self.typing = Some(Typing { typed, before });
    }
}

fn next<T: Copy + PartialEq>(all: &[T], now: T) -> T {
    let at = all.iter().position(|&it| it == now).unwrap_or(0);
    all[(at + 1) % all.len()]
}
