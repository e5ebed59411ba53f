use super::rest::PROBE_TIMEOUT;
use super::*;

const BROKEN: BackendError = BackendError::ServerError { status: 500 };
const BAD_KEY: BackendError = BackendError::KeyRejected { status: 401 };
const NO_OWNER: BackendError = BackendError::KeyRejected { status: 403 };
const MINUTE: Duration = Duration::from_secs(60);

fn outages() -> OutageTracker {
    OutageTracker::new(5, MINUTE, Duration::from_secs(900))
}

fn subject<'a>(app: &'a str, about: About<'a>) -> Subject<'a> {
    Subject { about, ..Subject::app("acme", app) }
}

fn ended<'a>(of: Subject<'a>, error: Option<&'a BackendError>) -> Ended<'a> {
    Ended { of, host: "backend", status: Some(500), error }
}

/// What backs off after these requests, in this order.
fn unavailable_after(requests: &[(Subject<'_>, Option<&BackendError>)]) -> Vec<String> {
    let outages = outages();
    for (of, error) in requests {
        outages.note(&ended(*of, *error), Instant::now());
    }
    outages.unavailable().iter().map(Scope::key).collect()
}

#[test]
fn who_rests_is_told_by_whom_the_answers_in_a_row_were_about() {
    use About::{App, Change, Existence, Row};
    const ROWS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let many = |app, error| ROWS.map(|row| (subject(app, Row(row)), Some(error))).to_vec();
    let one = |app, error| vec![(subject(app, Row("a")), Some(error)); 5];
    let then = |mut first: Vec<_>, more: &[_]| {
        first.extend_from_slice(more);
        first
    };
    let jobs = ROWS.map(|job| (Subject::job("acme", job), Some(&BROKEN))).to_vec();
    let looks_and_changes = ROWS.into_iter().flat_map(|row| {
        [(subject("x", Row(row)), None), (subject("x", Change(row)), Some(&BROKEN))]
    });
    let works = |app, about| (subject(app, about), None);
    let table = [
        ("four in a row", many("x", &BROKEN)[..4].to_vec(), &[][..]),
        ("five rows of one app", many("x", &BROKEN), &["acme/x"]),
        ("one row again and again", one("x", &BROKEN), &[]),
        (
            "one row, and the app itself",
            then(one("x", &BROKEN), &[(subject("x", Existence), Some(&BROKEN))]),
            &["acme/x"],
        ),
        ("the list of an app", vec![(subject("x", App), Some(&BROKEN)); 5], &["acme/x"]),
        (
            "rows of two apps",
            then(many("x", &BROKEN)[..3].to_vec(), &many("y", &BROKEN)[..2]),
            &["acme"],
        ),
        ("a key that is none, for one row", one("x", &BAD_KEY), &["acme"]),
        ("a key without the role for one app", many("x", &NO_OWNER), &["acme/x"]),
        ("jobs, whose app nobody names", jobs, &["acme"]),
        ("one job", vec![(Subject::job("acme", "1"), Some(&BROKEN)); 9], &[]),
        (
            "an answer of the app between",
            then(
                then(many("x", &BROKEN)[..4].to_vec(), &[works("x", Row("f"))]),
                &many("x", &BROKEN)[..4],
            ),
            &[],
        ),
        (
            "an answer of another app between",
            then(
                then(many("x", &BROKEN)[..4].to_vec(), &[works("y", Row("f"))]),
                &many("x", &BROKEN)[4..],
            ),
            &["acme/x"],
        ),
        (
            "looks that are answered, and changes that are not",
            looks_and_changes.collect(),
            &["acme/x"],
        ),
        (
            "an answered change between",
            then(
                ROWS[..4].iter().map(|row| (subject("x", Change(row)), Some(&BROKEN))).collect(),
                &[works("x", Change("f")), (subject("x", Change("e")), Some(&BROKEN))],
            ),
            &[],
        ),
        (
            "an app that exists, and answers for none of its rows",
            ROWS.into_iter()
                .flat_map(|row| [(subject("x", Row(row)), Some(&BROKEN)), works("x", Existence)])
                .collect(),
            &["acme/x"],
        ),
    ];
    for (name, requests, expected) in table {
        assert_eq!(unavailable_after(&requests), expected, "{name}");
    }
}

#[test]
fn what_the_backend_says_itself_is_an_answer_and_what_another_says_is_none() {
    let text = |code: &str| code.to_owned();
    let table = [
        (BackendError::RateLimited { retry_after: None }, false),
        (BackendError::NotFound { code: text("user_not_found") }, false),
        (BackendError::Refused { status: 400, code: text("bad_request") }, false),
        (BackendError::Refused { status: 400, code: text(crate::backend::answer::NO_CODE) }, true),
        (BackendError::UnexpectedResponse(text("status 404 without an error body")), true),
        (BackendError::Unavailable { status: 503, retry_after: None }, true),
    ];
    for (error, rests) in table {
        let requests = [(Subject::app("acme", "x"), Some(&error)); 5];
        assert_eq!(!unavailable_after(&requests).is_empty(), rests, "{error}");
    }
}

/// An app that has just begun to back off.
fn at_rest(now: Instant) -> (OutageTracker, Scope) {
    let outages = outages();
    fail(&outages, now, 5);
    let integration = Some("x".to_owned());
    (outages, Scope { workspace: "acme".to_owned(), integration })
}

fn fail(outages: &OutageTracker, now: Instant, times: u32) {
    for _ in 0..times {
        outages.note(&ended(Subject::app("acme", "x"), Some(&BROKEN)), now);
    }
}

fn succeed(outages: &OutageTracker, now: Instant) {
    outages.note(&ended(Subject::app("acme", "x"), None), now);
}

fn room(outages: &OutageTracker, now: Instant) -> u32 {
    outages.openings(now).iter().map(|opening| opening.room).sum()
}

#[test]
fn a_rest_lets_one_through_at_its_end_and_doubles_when_that_fails() {
    let mut now = Instant::now();
    let (outages, scope) = at_rest(now);
    fail(&outages, now, 30); // failures of requests that were sent before
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        let just_before = now + Duration::from_secs(pause) - Duration::from_millis(1);
        assert_eq!(room(&outages, just_before), 0);
        assert!(outages.pauses("acme", "x", just_before));
        now += Duration::from_secs(pause);
        assert_eq!(room(&outages, now), 1, "after {pause} s");
        assert!(!outages.pauses("acme", "x", now));
        outages.let_through(&scope, 1, now);
        assert_eq!(room(&outages, now + Duration::from_secs(29)), 0, "one goes first");
        fail(&outages, now, 3);
    }
}

#[test]
fn a_probe_that_asked_for_nothing_is_followed_by_another() {
    let now = Instant::now() + Duration::from_secs(1);
    let (outages, scope) = at_rest(Instant::now());
    outages.let_through(&scope, 1, now);
    assert_eq!(room(&outages, now + PROBE_TIMEOUT), 1);
}

#[test]
fn each_answer_lets_two_more_through_until_the_rest_is_over() {
    let now = Instant::now() + Duration::from_secs(1);
    let (outages, scope) = at_rest(Instant::now());
    outages.let_through(&scope, 1, now);
    let mut widths = Vec::new();
    let mut in_flight = 1;
    while !outages.unavailable().is_empty() {
        for _ in 0..in_flight {
            succeed(&outages, now);
        }
        in_flight = room(&outages, now);
        outages.let_through(&scope, in_flight, now);
        widths.push(in_flight);
    }
    assert_eq!(widths, [2, 4, 8, 16, 32, 0]);
}

#[test]
fn an_app_that_fails_again_while_its_rest_ends_rests_for_longer() {
    let now = Instant::now() + Duration::from_secs(1);
    let (outages, scope) = at_rest(Instant::now());
    outages.let_through(&scope, 1, now);
    succeed(&outages, now);
    fail(&outages, now, 4);
    assert_eq!(room(&outages, now), 2, "a few are no outage");
    fail(&outages, now, 1);
    assert_eq!(room(&outages, now + Duration::from_millis(1999)), 0);
    assert_eq!(room(&outages, now + Duration::from_secs(2)), 1);
}

#[test]
fn a_rest_for_which_nothing_is_to_do_keeps_no_other_from_its_probe() {
    let outages = outages();
    let names: Vec<_> = (0..9).map(|number| format!("w{number}")).collect();
    for name in &names {
        for _ in 0..5 {
            let of = Subject::app(name, "x");
            outages.note(&ended(of, Some(&BROKEN)), Instant::now());
        }
    }
    let later = Instant::now() + MINUTE;
    let mut asked = BTreeSet::new();
    for _ in 0..9 {
        for Opening { scope, .. } in outages.openings(later) {
            outages.let_through(&scope, 0, later);
            asked.insert(scope.workspace);
        }
    }
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), names);
}

#[test]
fn a_workspace_rests_as_a_whole_or_app_by_app() {
    let (outages, _) = at_rest(Instant::now());
    for _ in 0..2 {
        outages.note(&ended(Subject::app("acme", "y"), Some(&BROKEN)), Instant::now());
    }
    assert_eq!(outages.unavailable().iter().map(Scope::key).collect::<Vec<_>>(), ["acme"]);
}

#[test]
fn an_app_rests_by_itself_and_its_workspace_goes_on() {
    let (outages, _) = at_rest(Instant::now());
    assert!(outages.pauses("acme", "x", Instant::now()));
    assert!(!outages.pauses("acme", "y", Instant::now()));
    assert!(!outages.pauses("globex", "x", Instant::now()));
}

#[test]
fn what_another_replica_probes_rests_until_the_other_says_that_it_is_over() {
    let (outages, now) = (outages(), Instant::now());
    let app = Scope { workspace: "acme".to_owned(), integration: Some("x".to_owned()) };
    let keys = |scopes: Vec<Scope>| scopes.iter().map(Scope::key).collect::<Vec<_>>();
    let of_another = HashSet::from([app.clone()]);
    outages.go_by(&[], of_another.clone(), now);
    assert_eq!(keys(outages.unavailable()), ["acme/x"]);
    assert!(outages.pauses("acme", "x", now) && !outages.pauses("acme", "y", now));
    // What was in flight also ends without an answer, and is not for this replica to probe.
    for row in ["a", "b", "c", "d", "e"] {
        outages.note(&ended(subject("x", About::Row(row)), Some(&BROKEN)), now);
    }
    assert_eq!(keys(outages.found()), ["acme/x"]);
    outages.go_by(&[], of_another, now);
    assert_eq!((outages.found().len(), outages.openings(now + MINUTE).len()), (0, 0));

    outages.go_by(&[], HashSet::new(), now);
    let room = || outages.openings(now).first().map(|opening| opening.room);
    assert_eq!((room(), outages.found().len()), (Some(1), 0), "one goes first");
    outages.let_through(&app, 1, now);
    outages.note(&ended(subject("x", About::Row("a")), None), now);
    assert_eq!(room(), Some(2), "and the rest follows on a slope");
    outages.go_by(std::slice::from_ref(&app), HashSet::new(), now);
    assert!(!outages.pauses("acme", "x", now));
}
