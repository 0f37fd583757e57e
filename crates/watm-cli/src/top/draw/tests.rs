use std::time::Duration;

use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;

use super::*;
use crate::monitor::report::{Bytes, Connection, Connections, Module, Overview, Process, Tunnel};
use crate::top::client::Seen;
use crate::top::history::History;
use crate::top::keys::Key;
use crate::top::view::Wish;

fn tunnel(name: &str, open: u64, moved: u64) -> Tunnel {
    Tunnel {
        name: name.into(),
        role: "dialer".into(),
        state: "up".into(),
        module: Some(Module {
            name: "plain".into(),
            sha256: "0123456789abcdef".into(),
        }),
        listening: vec!["127.0.0.1:8080".into()],
        target: Some("192.0.2.1:443".into()),
        connections: open,
        connection_limit: Some(4096),
        accepted: 7,
        bytes: bytes(moved),
        ..Tunnel::default()
    }
}

fn bytes(moved: u64) -> Bytes {
    Bytes {
        network_sent: moved,
        network_received: 1000 * moved,
        ..Bytes::default()
    }
}

fn connection(number: u64, tunnel: &str, moved: u64) -> Connection {
    Connection {
        tunnel: tunnel.into(),
        role: "dialer".into(),
        server: 1,
        number,
        client: Some(format!("127.0.0.1:{}", 50_000 + number)),
        remote: Some("192.0.2.1:443".into()),
        state: "open".into(),
        age_seconds: 65.0,
        bytes: bytes(moved),
        ..Connection::default()
    }
}

fn seen(step: u64) -> Seen {
    Seen {
        overview: Overview {
            watm: "0.1.0".into(),
            pid: 4242,
            uptime_seconds: 3600.0 + step as f64,
            process: Process {
                cpu_seconds: Some(step as f64 / 10.0),
                resident_bytes: Some(34_000_000),
                threads: Some(20),
                open_fds: Some(50),
                max_fds: Some(1024),
            },
            tunnels: vec![tunnel("web", 3, 1500 * step), tunnel("mail", 1, 0)],
            ..Overview::default()
        },
        connections: Ok(Connections {
            connections: (1..=4)
                .map(|number| {
                    let tunnel = if number == 4 { "mail" } else { "web" };
                    connection(number, tunnel, number * 500 * step)
                })
                .collect(),
            left_out: 0,
        }),
    }
}

fn view_of(looks: impl IntoIterator<Item = Seen>) -> View {
    let mut view = View::new("unix:@watm");
    let (mut history, start) = (History::default(), Instant::now());
    for (at, seen) in looks.into_iter().enumerate() {
        let now = start + Duration::from_secs(at as u64);
        view.look(now, Ok(history.add(now, seen)));
    }
    view
}

fn view() -> View {
    view_of([seen(1), seen(2)])
}

fn drawn(view: &mut View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let palette = Palette { has_colours: true };
    let draw = |frame: &mut ratatui_core::terminal::Frame<'_>| {
        let area = frame.area();
        draw(frame.buffer_mut(), area, view, palette, Instant::now());
    };
    terminal.draw(draw).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

#[track_caller]
fn keys(view: &mut View, keys: impl IntoIterator<Item = Key>) {
    for key in keys {
        assert_eq!(view.key(key), Wish::Nothing);
    }
}

/// The numbers of the connections, in the order in which they are shown.
fn order(view: &View) -> Vec<u64> {
    view.connections.rows.iter().map(|row| row.id.1).collect()
}

#[test]
fn the_screen_has_the_process_the_tunnels_and_the_connections() {
    let lines = drawn(&mut view(), 120, 14);
    assert_eq!(
        lines[..2],
        [
            "watm 0.1.0, process 4242, up 1h00m, ready  unix:@watm",
            "4 connections, up 1.5 kB/s, down 1.5 MB/s, processor 10%, memory 34.0 MB, threads 20, \
             files 50 of 1024",
        ]
    );
    assert!(lines[3].starts_with("TUNNEL^  ROLE"), "{lines:#?}");
    assert!(lines[4].starts_with("mail     dialer  up"), "{lines:#?}");
    assert!(
        lines[5].contains("3/4096") && lines[5].contains("1.5 MB"),
        "{lines:#?}"
    );
    assert!(lines[7].contains("DOWN/sv"), "{lines:#?}");
    assert!(
        lines[8].contains("127.0.0.1:50004"),
        "the busiest is first: {lines:#?}"
    );
    assert!(
        lines[8].contains("1m05s") && lines[8].contains("2.0 MB"),
        "{lines:#?}"
    );
    assert!(lines[13].starts_with("q quit"), "{lines:#?}");
}

#[test]
fn keys_select_sort_filter_pause_and_quit() {
    let mut view = view();
    assert_eq!(order(&view), [4, 3, 2, 1], "the busiest first");
    keys(&mut view, [Key::Tab, Key::Char('1')]);
    assert_eq!(order(&view), [4, 3, 2, 1], "numbers descend");
    keys(&mut view, [Key::Char('r')]);
    assert_eq!(order(&view), [1, 2, 3, 4]);
    keys(&mut view, [Key::Down, Key::Char('j')]);
    assert_eq!(view.connections.selected_at(), Some(2));
    keys(&mut view, [Key::Char('r')]);
    assert_eq!(view.connections.selected_at(), Some(1), "the same row");
    keys(&mut view, [Key::Char('G'), Key::Down]);
    assert_eq!(view.connections.selected_at(), Some(3));
    keys(&mut view, [Key::Home, Key::Up]);
    assert_eq!(view.connections.selected_at(), Some(0));
    // Only those of the tunnel `mail`, and all again.
    keys(&mut view, [Key::Tab, Key::Home, Key::Enter]);
    assert_eq!(order(&view), [4]);
    assert!(drawn(&mut view, 80, 20).join("\n").contains("only of mail"));
    keys(&mut view, [Key::Escape]);
    assert_eq!(order(&view).len(), 4);
    keys(&mut view, [Key::Char('?')]);
    assert!(drawn(&mut view, 80, 24)[0].starts_with("Keys"));
    keys(&mut view, [Key::Char('p')]);
    assert!(!view.is_paused, "it only closes the help");
    keys(&mut view, [Key::Char('p')]);
    let before = drawn(&mut view, 100, 20);
    let picture = History::default().add(Instant::now(), seen(9));
    view.look(Instant::now(), Ok(picture));
    assert_eq!(drawn(&mut view, 100, 20), before);
    assert_eq!(view.key(Key::Ctrl('z')), Wish::Suspend);
    assert_eq!(view.key(Key::Char('q')), Wish::Quit);
    assert_eq!(view.key(Key::Ctrl('c')), Wish::Quit);
}

#[test]
fn a_failure_is_shown_in_red_and_what_was_seen_before_stays_without_rates() {
    let mut view = view();
    view.look(Instant::now(), Err("nobody\x1b[2J answers".into()));
    let lines = drawn(&mut view, 100, 20).join("\n");
    assert!(
        lines.contains("no answer for 0s: nobody\\u{1b}[2J answers"),
        "{lines}"
    );
    assert!(
        lines.contains("up -, down -") && lines.contains("3/4096"),
        "{lines}"
    );
    let mut buffer = Buffer::empty(Rect::new(0, 0, 100, 20));
    for (has_colours, colour) in [(true, Some(Color::Red)), (false, None)] {
        buffer.reset();
        let area = buffer.area;
        draw(
            &mut buffer,
            area,
            &mut view,
            Palette { has_colours },
            Instant::now(),
        );
        let found = buffer.content.iter().map(|cell| cell.fg);
        let found = found.filter(|fg| *fg != Color::Reset).collect::<Vec<_>>();
        assert_eq!(found.contains(&Color::Red), colour.is_some());
        assert_eq!(found.is_empty(), colour.is_none(), "{found:?}");
    }
}

#[test]
fn connections_that_are_not_shown_have_a_line_that_says_why() {
    let hidden = Seen {
        connections: Err("over a Unix socket only".into()),
        ..seen(1)
    };
    let mut view = view_of([hidden]);
    let lines = drawn(&mut view, 100, 20);
    assert_eq!(lines[7], "over a Unix socket only", "{lines:#?}");
    keys(&mut view, [Key::Tab, Key::Down, Key::Char('s')]);
    assert_eq!(drawn(&mut view, 100, 4)[1], "over a Unix socket only");
    assert!(text(&view).contains("\nover a Unix socket only\n"));
}

#[test]
fn no_name_drives_the_terminal() {
    let mut evil = seen(1);
    evil.overview.watm = "\x1b]0;x\x07".into();
    let name = "\x1b[2J\u{9b}31m\n\u{202e}";
    evil.overview.tunnels[0].name = name.into();
    evil.overview.unready = Some(name.into());
    evil.overview.tunnels[0].state = name.into();
    if let Ok(all) = &mut evil.connections {
        all.connections[0].client = Some(name.into());
        all.connections[0].state = name.into();
    }
    let mut view = view_of([evil]);
    let drawn = drawn(&mut view, 200, 30).concat() + &text(&view).replace('\n', "");
    assert!(!drawn.contains(watm_abi::is_disruptive), "{drawn:?}");
}

#[test]
fn any_size_and_any_numbers_are_drawn() {
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..400 {
        let looks = (0..1 + next(3)).map(|_| {
            let mut seen = seen(next(1000));
            seen.overview.uptime_seconds = [f64::NAN, -1.0, 1e300, 5.0][next(4) as usize];
            seen.overview.tunnels.truncate(next(3) as usize);
            for at in 0..next(40) {
                let name = "\u{4f60}\u{597d}\u{301}x".repeat(next(30) as usize);
                seen.overview
                    .tunnels
                    .push(tunnel(&name, u64::MAX - at, u64::MAX / 1000));
            }
            if let Ok(all) = &mut seen.connections {
                for number in 0..next(60) {
                    all.connections
                        .push(connection(number, "web", next(1 << 40)));
                }
                all.left_out = next(2);
            }
            if next(4) == 0 {
                seen.connections = Err("hidden".into());
            }
            seen
        });
        let mut view = view_of(looks.collect::<Vec<_>>());
        if next(4) == 0 {
            view.look(Instant::now(), Err("gone".into()));
        }
        for (width, height) in [
            (20, 5),
            (1, 1),
            (80, 24),
            (next(250) as u16, next(80) as u16),
        ] {
            let (width, height) = (width.max(1), height.max(1));
            let any = [
                Key::Tab,
                Key::Enter,
                Key::Down,
                Key::PageDown,
                Key::End,
                Key::Char('s'),
                Key::Char('r'),
                Key::Char('7'),
                Key::Escape,
                Key::Up,
                Key::PageUp,
            ];
            keys(&mut view, [any[next(11) as usize], any[next(11) as usize]]);
            let lines = drawn(&mut view, width, height);
            assert_eq!(lines.len(), usize::from(height), "round {round}");
            assert!(lines[0].starts_with('w'), "round {round}: {lines:?}");
        }
        text(&view);
    }
}
