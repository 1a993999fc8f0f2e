//! The terminal, while it is ours: entered, and restored whatever happens. A panic anywhere restores it before it is told.

use std::io::{self, Stdout, Write, stdout};
use std::mem::ManuallyDrop;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute, queue};

/// Whether the terminal is ours at the moment.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// The terminal as a screen to draw on. It is restored when this is dropped.
pub struct Screen {
    /// Never dropped: it would complain on standard error, and panic, where the terminal is gone.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
    drawn: (u16, u16),
}

impl Screen {
    /// Takes the terminal.
    pub fn enter() -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        let mut screen = Screen { terminal: terminal()?, drawn: (0, 0) };
        screen.take()?;
        Ok(screen)
    }

    /// Takes the terminal once more, after it was restored or somebody else had it; all is drawn anew.
    pub fn take(&mut self) -> io::Result<()> {
        IS_OURS.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, EnableMouseCapture, cursor::Hide, Clear(ClearType::All))?;
        // A new one knows that nothing is drawn. To clear the old one would ask the terminal where its cursor is, and the
        // thread that reads keys would take the answer.
        self.terminal = terminal()?;
        Ok(())
    }

    /// Gives the terminal back.
    pub fn leave(&mut self) {
        restore();
    }

    /// Whether the terminal is ours; not any more after a panic in some thread.
    pub fn is_ours(&self) -> bool {
        IS_OURS.load(Ordering::SeqCst)
    }

    /// Draws a picture.
    pub fn draw(&mut self, picture: impl FnOnce(&mut ratatui::Frame)) -> io::Result<()> {
        self.terminal.draw(picture).map(|drawn| self.drawn = (drawn.area.width, drawn.area.height))
    }

    /// How wide and high the last picture was.
    pub fn drawn_size(&self) -> (u16, u16) {
        self.drawn
    }
}

fn terminal() -> io::Result<ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>> {
    Terminal::new(CrosstermBackend::new(stdout())).map(ManuallyDrop::new)
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal, if it is ours. Where that fails there is no terminal any more.
fn restore() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        let mut out = stdout();
        let _ = queue!(out, DisableMouseCapture, LeaveAlternateScreen, cursor::Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}
