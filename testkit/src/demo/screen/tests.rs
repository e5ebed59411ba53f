//! What the screen shows.

use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyEvent;

use super::*;
use crate::demo::sentences::{SPOKEN_OF, Told};

fn shown(page: Page, snapshot: &Snapshot, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, page, snapshot, example::SOURCE)).unwrap();
    let lines = terminal.backend().to_string();
    let lines = lines.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Wish> {
    wish(&Input::Key(KeyEvent::new(code, modifiers)))
}

#[test]
fn keys_quit_and_choose_a_story_and_nothing_else_does() {
    let plain = |code| key(KeyCode::Char(code), KeyModifiers::NONE);
    assert_eq!(plain('q'), Some(Wish::Quit));
    assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Quit));
    assert_eq!(plain('1'), Some(Wish::Show(Page::Story(0))));
    assert_eq!(plain('6'), Some(Wish::Show(Page::Story(5))));
    assert_eq!(plain('0'), Some(Wish::Show(Page::Overview)));
    assert_eq!(key(KeyCode::Esc, KeyModifiers::NONE), Some(Wish::Show(Page::Overview)));
    assert_eq!(wish(&Input::Resize(1, 1)), Some(Wish::Redraw));
    for other in ['7', '9', 'c', 'x'] {
        assert_eq!(plain(other), None, "{other}");
    }
}

#[test]
fn a_dumb_terminal_gets_lines() {
    assert!(moves_its_cursor(Some("xterm-256color".as_ref())));
    for term in [None, Some(""), Some("dumb")] {
        assert!(!moves_its_cursor(term.map(OsStr::new)), "{term:?}");
    }
}

#[test]
fn the_overview_is_understood_on_the_usual_terminal() {
    assert_snapshot!(shown(Page::Overview, &example::snapshot(), 80, 24), @r#"
 cerby-reconciler  seed 1, 1:24                             1-6 a story  q quit
███████████████████████████  120 of 351 tasks ended

 Tasks     84 succeeded     27 to people      9 replaced      38 not ended
 Actions   12 verified      12 open           2 to verify      1 contradicted

 What happened last
  1:23  Contradicted: Oluwaseun Patel was not removed from Linear
  1:21  Verified: Yuki Kaya was invited to Luru
  1:20  Noah Haddad was removed from Salesforce
  1:18  A report of Adobe Creative Cloud is held: it removes people unasked
  1:17  Dimitra Okafor could not be invited to LinkedIn Business Manager: needs
        a person
  1:14  Canva refuses Cerby's login: its tasks are on hold

 Six stories: press the number to watch one
 1 a retry              ended           4 a held report        step 3 of 5
 2 an escalation        ended           5 a login refused      step 2 of 6
 3 the lie              step 5 of 8     6 somebody comes back  not begun

 In another terminal, in this folder
   . target/demo.env
   reconciler-demo do 16   remove Ivo Lane from Zoom
   reconciler-demo sql     look around with psql
"#);
}

#[test]
fn the_overview_is_readable_on_a_small_terminal() {
    assert_snapshot!(shown(Page::Overview, &example::snapshot(), 60, 20), @r#"
 cerby-reconciler  seed 1, 1:24         1-6 a story  q quit
███████████████████120 of 351 tasks ended

 Tasks     84 succeeded     27 to people      9 replaced
           38 not ended
 Actions   12 verified      12 open           2 to verify
            1 contradicted

 What happened last
  1:23  Contradicted: Oluwaseun Patel was not removed from
        Linear
  1:21  Verified: Yuki Kaya was invited to Luru
  1:20  Noah Haddad was removed from Salesforce
  1:18  A report of Adobe Creative Cloud is held: it removes
        people unasked

 In another terminal, in this folder
   . target/demo.env
   reconciler-demo do 16   remove Ivo Lane from Zoom
   reconciler-demo sql     look around with psql
"#);
}

#[test]
fn a_story_is_told_up_to_what_it_waits_for() {
    assert_snapshot!(shown(Page::Story(2), &example::snapshot(), 80, 24), @r#"
 cerby-reconciler  seed 1, 1:24                     1-6 a story  0 back  q quit
███████████████████████████  120 of 351 tasks ended

 Story 3: the lie
 Oluwaseun Patel in Linear

  0:07  Cerby failed to remove Oluwaseun Patel from Linear.
  0:14  The daemon tried again: Cerby's account may not remove people. A manual
        action opens.
  0:21  Robin, a colleague, takes the action.
  0:28  Robin marks the action done, but did not remove Oluwaseun Patel.
  0:35  The snapshot still shows Oluwaseun Patel: contradicted. The action is
        open again.
   now  The story waits for somebody who takes the action.
"#);
}

#[test]
fn a_story_that_has_not_begun_says_what_it_waits_for() {
    assert_snapshot!(shown(Page::Story(5), &example::snapshot(), 60, 20), @r#"
 cerby-reconciler  seed 1, 1:24 1-6 a story  0 back  q quit
███████████████████120 of 351 tasks ended

 Story 6: somebody comes back
 Chloe Okafor in 6sense

        This story has not begun: it waits for the failed
        task to arrive.
"#);
}

#[test]
fn a_larger_terminal_shows_more_of_what_happened() {
    let happenings = |height| {
        let text = shown(Page::Overview, &example::snapshot(), 100, height);
        text.lines().filter(|line| line.contains("needs a person")).count()
    };
    assert!(happenings(50) > happenings(24));
}

#[test]
fn every_page_is_drawn_on_every_size_of_terminal() {
    let pages = (0..STORIES.len()).map(Page::Story).chain([Page::Overview]);
    for page in pages {
        for (width, height) in [(1, 1), (2, 30), (20, 5), (80, 10), (80, 24), (200, 60)] {
            shown(page, &example::snapshot(), width, height);
        }
    }
}

#[test]
fn no_sentence_about_anybody_is_cut() {
    for task in crate::demo::tasks::all() {
        for what in SPOKEN_OF {
            let told = Told {
                what: what.to_owned(),
                operation: Some(task.operation.clone()),
                member_name: task.member_name.clone(),
                member_email: Some(task.member_email.clone()),
                integration_name: Some(task.integration_name.clone()),
                ..Told::default()
            };
            for width in [60, 80] {
                let text = told.happening().text;
                let lines = wrapped(Span::from("  1:23  "), &text, Style::new(), width);
                assert!(lines.iter().all(|line| line.width() <= usize::from(width)), "{text}");
            }
        }
    }
}
