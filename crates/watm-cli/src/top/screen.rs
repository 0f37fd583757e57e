//! Draws a view. What comes from elsewhere is escaped: nothing in it drives the terminal.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table};

use super::table::{age, bytes};
use super::view::View;
use crate::monitor::status::{Tunnel, TunnelState};
use crate::terminal::escape::printable;

const KEYS: &str =
    "q quit  j/k tunnel  Enter only its connections  s order  PgUp/PgDn  p pause  ? help";
const HELP: &str = "\
q, Ctrl-C      quit
up, down, k, j choose a tunnel
Enter          show only its connections, or all again
s              order connections by rate, bytes, age or client
PgUp, PgDn     scroll connections
p, space       keep what is shown, or go on
?, Esc         this text

Rates are bytes in each second, counted on
the side of the clients. Failed are those that
could not be set up or ended with an error.";

/// How to draw.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) colours: bool,
}

impl Look {
    fn of(self, color: Color) -> Style {
        match self.colours {
            true => Style::new().fg(color),
            false => Style::new(),
        }
    }

    fn heading(self) -> Style {
        self.of(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}

/// Draws all of it. Returns how many connections fit.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, look: Look) -> usize {
    let area = frame.area();
    let tunnels = u16::try_from(view.status.tunnels.len()).unwrap_or(u16::MAX);
    // The connections have at least half of what is there.
    let most = (area.height / 2).max(2);
    let [head, upper, lower, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(tunnels.saturating_add(2).min(most)),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heading(view, look)), head);
    draw_tunnels(frame, upper, view, look);
    let fit = draw_connections(frame, lower, view, look);
    frame.render_widget(Paragraph::new(foot_line(view, look)), foot);
    if view.help {
        draw_help(frame, area);
    }
    fit
}

fn heading(view: &View, look: Look) -> Vec<Line<'static>> {
    let status = &view.status;
    let open: u64 = status.tunnels.iter().map(|tunnel| tunnel.open).sum();
    let total = view.total();
    let uptime = age(Duration::try_from_secs_f64(status.uptime).unwrap_or_default());
    let memory = status
        .memory
        .map_or("?".to_owned(), |memory| bytes(memory as f64));
    let first = Line::from(vec![
        Span::styled(format!("watm {}", printable(&status.watm)), look.heading()),
        Span::raw(format!(
            "  {}  process {}  up {uptime}",
            printable(&view.address),
            status.process
        )),
    ]);
    let second = format!(
        "{open} connections  from clients {}/s  to clients {}/s  {:.2} cores  {memory} memory",
        bytes(total.from_client),
        bytes(total.to_client),
        view.cores
    );
    vec![first, Line::raw(second)]
}

fn draw_tunnels(frame: &mut Frame<'_>, area: Rect, view: &View, look: Look) {
    let header = Row::new([
        "TUNNEL", "ROLE", "STATE", "OPEN", "ACCEPTED", "FAILED", "FROM/S", "TO/S", "LISTENS",
    ]);
    let widths = [
        Constraint::Min(8),
        Constraint::Length(12),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Fill(2),
    ];
    // The one under the cursor stays in sight.
    let room = usize::from(area.height.saturating_sub(2)).max(1);
    let above = (view.cursor + 1).saturating_sub(room);
    let tunnels = view.status.tunnels.iter().enumerate().skip(above);
    let rows = tunnels.map(|(at, tunnel)| tunnel_row(view, at, tunnel, look));
    let table = Table::new(rows, widths).header(header.style(look.heading()));
    frame.render_widget(table, area);
}

fn tunnel_row(view: &View, at: usize, tunnel: &Tunnel, look: Look) -> Row<'static> {
    let rates = view.rates_of(tunnel);
    let style = match tunnel.state {
        TunnelState::Up => Style::new(),
        TunnelState::TakenBack => look.of(Color::Red),
        _ => look.of(Color::Yellow),
    };
    let row = Row::new([
        printable(&tunnel.name),
        printable(&tunnel.role),
        tunnel.state.name().to_owned(),
        tunnel.open.to_string(),
        tunnel.accepted.to_string(),
        tunnel.failed.to_string(),
        bytes(rates.from_client),
        bytes(rates.to_client),
        printable(&tunnel.listen.join(", ")),
    ]);
    if at == view.cursor {
        row.style(style.add_modifier(Modifier::REVERSED))
    } else {
        row.style(style)
    }
}

fn draw_connections(frame: &mut Frame<'_>, area: Rect, view: &View, look: Look) -> usize {
    if view.status.connections.is_none() {
        let text = "Connections are shown one by one if --metrics of the command is a Unix socket, \
            such as --metrics unix:/run/watm/status.sock";
        let text = Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true });
        frame.render_widget(text, area);
        return 0;
    }
    let widths = [
        Constraint::Min(8),
        Constraint::Fill(1),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
    ];
    let header = Row::new([
        "TUNNEL", "CLIENT", "STATE", "AGE", "FROM/S", "TO/S", "FROM", "TO",
    ]);
    let room = usize::from(area.height.saturating_sub(1));
    let shown = view.connections();
    let rows = shown
        .iter()
        .skip(view.scrolled)
        .take(room)
        .map(|(connection, rates)| {
            let client = connection.client.as_deref().unwrap_or("a Unix socket");
            let state = if connection.established {
                "open"
            } else {
                "setting up"
            };
            let since = Duration::try_from_secs_f64(connection.age).unwrap_or_default();
            Row::new([
                printable(&connection.tunnel),
                printable(client),
                state.to_owned(),
                age(since),
                bytes(rates.from_client),
                bytes(rates.to_client),
                bytes(connection.from_client as f64),
                bytes(connection.to_client as f64),
            ])
        });
    let table = Table::new(rows, widths).header(header.style(look.heading()));
    frame.render_widget(table, area);
    room
}

fn foot_line(view: &View, look: Look) -> Line<'static> {
    if let Some(trouble) = &view.trouble {
        let style = look.of(Color::Red).add_modifier(Modifier::BOLD);
        return Line::styled(format!("no answer: {}", printable(trouble)), style);
    }
    if let Some(reason) = &view.status.unready {
        return Line::styled(
            format!("not ready: {}", printable(reason)),
            look.of(Color::Yellow),
        );
    }
    let mut text = String::new();
    if view.paused {
        text.push_str("PAUSED  ");
    }
    if let Some((name, _)) = &view.only {
        text.push_str(&format!("only {}  ", printable(name)));
    }
    if view.status.left_out > 0 {
        text.push_str(&format!("{} more are not listed  ", view.status.left_out));
    }
    text.push_str(&format!("by {}  {KEYS}", view.order.name()));
    Line::raw(text)
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(HELP.lines().count() + 2).unwrap_or(u16::MAX);
    let [area] = Layout::horizontal([Constraint::Length(64.min(area.width))]).areas(area);
    let [area] = Layout::vertical([Constraint::Length(height.min(area.height))]).areas(area);
    frame.render_widget(Clear, area);
    let text = Paragraph::new(HELP).block(Block::bordered().title("keys"));
    frame.render_widget(text, area);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::monitor::status::{Connection, Status};
    use crate::top::view::Command;

    fn status(connections: Option<u64>) -> Status {
        Status {
            watm: "1.0\u{1b}[2J".to_owned(),
            process: 7,
            uptime: 3700.0,
            memory: Some(5 << 20),
            tunnels: (0..3)
                .map(|number| Tunnel {
                    name: format!("tunnel-{number}\u{7}"),
                    role: "dialer".to_owned(),
                    listen: vec!["127.0.0.1:1080".to_owned()],
                    open: 2,
                    ..Tunnel::default()
                })
                .collect(),
            connections: connections.map(|count| {
                let made = (0..count).map(|number| Connection {
                    tunnel: "tunnel-0\u{7}".to_owned(),
                    role: "dialer".to_owned(),
                    number,
                    client: Some(format!("192.0.2.1:{number}")),
                    age: 65.0,
                    established: true,
                    from_client: 1 << number,
                    to_client: 0,
                });
                made.collect()
            }),
            ..Status::default()
        }
    }

    /// The screen as text, and how many connections fit.
    fn drawn(view: &View, (width, height): (u16, u16)) -> (String, usize) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let mut fit = 0;
        let look = Look { colours: true };
        terminal
            .draw(|frame| fit = draw(frame, view, look))
            .expect("it draws");
        (terminal.backend().to_string(), fit)
    }

    fn view(connections: Option<u64>) -> View {
        View::new(
            "unix:/run/watm".to_owned(),
            status(connections),
            Instant::now(),
        )
    }

    #[test]
    fn tunnels_and_connections_stand_below_each_other() {
        let mut view = view(Some(30));
        view.obey(Command::Order, 1);
        let (screen, fit) = drawn(&view, (110, 20));
        for part in [
            "unix:/run/watm  process 7  up 1h01m",
            "6 connections",
            "5.0M memory",
            "tunnel-2",
            "127.0.0.1:1080",
            "192.0.2.1:29",
            "1m05s",
            "by bytes",
        ] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
        assert_eq!(fit, 20 - 2 - 5 - 1 - 1);
        assert!(
            !screen.contains('\u{1b}') && !screen.contains('\u{7}'),
            "{screen}"
        );
        view.obey(Command::PageDown, fit);
        let (screen, _) = drawn(&view, (110, 20));
        assert!(!screen.contains("192.0.2.1:29"), "{screen}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        let mut without = view(None);
        let (screen, fit) = drawn(&without, (110, 20));
        assert!(screen.contains("is a Unix socket"), "{screen}");
        assert_eq!(fit, 0);
        without.fail("it does not answer".to_owned());
        assert!(
            drawn(&without, (110, 20))
                .0
                .contains("no answer: it does not answer")
        );
        let mut view = view(Some(1));
        view.obey(Command::Help, 1);
        assert!(drawn(&view, (110, 30)).0.contains("scroll connections"));
    }

    #[test]
    fn any_size_can_be_drawn() {
        let mut views = [view(None), view(Some(0)), view(Some(40))];
        views[2].obey(Command::Help, 1);
        views[2].obey(Command::Down, 1);
        for view in &views {
            for width in [1, 2, 10, 20, 80, 300] {
                for height in [1, 2, 3, 5, 24, 100] {
                    drawn(view, (width, height));
                }
            }
        }
    }
}
