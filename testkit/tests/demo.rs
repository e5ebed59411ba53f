//! The demo plays through and ends well; the one for people leaves nothing behind when it is interrupted.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const PROCEDURES: [&str; 6] = [
    "app/change_role",
    "app/invite",
    "app/remove",
    "business_hub/change_role",
    "business_hub/invite",
    "business_hub/remove",
];

fn demo(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testkit"));
    command.arg("demo").args(arguments).env("TMPDIR", temporary).stdin(Stdio::null());
    command
}

/// The end of an unattended demo that ended well and left nothing behind.
fn play(seed: &str) -> Value {
    let temporary = tempfile::tempdir().expect("a directory");
    let output = demo(temporary.path(), &["--once", "--json", "--seed", seed])
        .output()
        .expect("the demo runs");
    let words = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}\n{words}");
    let end: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(end["ok"], true, "{end:#}\n{words}");
    assert!(output.status.success());
    assert_eq!(files_in(temporary.path()), Vec::<PathBuf>::new());
    end
}

#[test]
fn it_ends_well_with_all_six_procedures_and_one_lie_found_out() {
    let end = play("7");
    assert!(end["tasks"].as_u64().expect("a count") >= 300);
    for procedure in PROCEDURES {
        let counts = &end["procedures"][procedure];
        for count in ["tasks", "succeeded", "escalated", "verified"] {
            assert!(counts[count].as_u64().expect("a count") > 0, "{procedure}: {counts}");
        }
    }
    assert_eq!((&end["lies"], &end["reopened_actions"]), (&1.into(), &1.into()));
    assert!(end["deprovisioned"]["with_job"].as_u64().expect("a count") > 0);
    assert!(end["deprovisioned"]["without_job"].as_u64().expect("a count") > 0);
    assert_eq!(end["stories"].as_array().expect("a list").len(), 6);

    // The same: the people, the apps, and the steps of each story in their order. Not the same: times, ids, and in which
    // order the members of different stories have their turn.
    assert_eq!(play("7")["stories"], end["stories"], "the same seed tells the same stories");
}

#[test]
fn somebody_can_act_from_another_terminal() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut demo = demo(temporary.path(), &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    wait_until_it_runs(&mut demo);

    let unknown = typed(temporary.path(), "reconciler-demo do 999999");
    assert!(!unknown.status.success());
    assert!(words(&unknown.stderr).contains("there is no manual action 999999"), "{unknown:?}");

    let (id, said) = do_one(temporary.path());
    assert!(said.contains(&format!("claimed  action {id}: ")), "{said}");
    assert!(said.contains("changed  ") && said.contains("done     "), "{said}");

    let again = typed(temporary.path(), &format!("reconciler-demo do {id}"));
    assert!(!again.status.success(), "{again:?}");
    assert!(words(&again.stderr).contains("cannot be claimed"), "{again:?}");

    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGINT).expect("it can be told");
    assert!(demo.wait().expect("it ends").success());
    let outside = Command::new(env!("CARGO_BIN_EXE_testkit"));
    assert!(words(&as_command(outside).output().expect("it runs").stderr).contains("demo.env"));
}

/// The number of an action that could be done, and what was said of it. The colleague in the stories may be faster.
fn do_one(temporary: &Path) -> (String, String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // The command line of the product is on the path, too.
        let listed = typed(temporary, "cerby-reconciler actions next");
        let text = words(&listed.stdout);
        let number = text.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty());
        if let Some(id) = number.filter(|_| listed.status.success()) {
            let done = typed(temporary, &format!("reconciler-demo do {id}"));
            if done.status.success() {
                return (id.to_owned(), words(&done.stdout));
            }
        }
        assert!(Instant::now() < deadline, "{listed:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The end of a command in a shell that has sourced the file of the running demo.
fn typed(temporary: &Path, command: &str) -> Output {
    let mut files = files_in(temporary).into_iter().map(|dir| dir.join("demo.env"));
    let file = files.find(|file| file.is_file()).expect("the demo wrote its file");
    let script = format!(". '{}'; {command}", file.display());
    Command::new("sh").args(["-c", &script]).output().expect("sh runs")
}

fn as_command(mut program: Command) -> Command {
    use std::os::unix::process::CommandExt;
    program.arg0("reconciler-demo").args(["do", "1"]).env_remove("RECONCILER__DATABASE__URL");
    program
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_interrupt_leaves_no_process_and_no_file() {
    ends_without_a_trace(Signal::SIGINT, true);
}

#[test]
fn being_killed_leaves_no_process_and_no_file() {
    ends_without_a_trace(Signal::SIGKILL, false);
}

fn ends_without_a_trace(signal: Signal, in_order: bool) {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut demo = demo(temporary.path(), &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    wait_until_it_runs(&mut demo);
    let processes = descendants(demo.id());
    let directories: BTreeSet<PathBuf> = processes.iter().flat_map(Process::directories).collect();
    assert!(processes.len() >= 5, "PostgreSQL, two replicas, two guards");
    assert_eq!(directories.len(), 2, "{directories:?}");

    kill(Pid::from_raw(demo.id().cast_signed()), signal).expect("it can be told");
    let status = demo.wait().expect("it ends");
    assert_eq!(status.success(), in_order, "{status}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while processes.iter().any(Process::is_alive) || directories.iter().any(|dir| dir.exists()) {
        let left: Vec<_> = processes.iter().filter(|each| each.is_alive()).collect();
        assert!(Instant::now() < deadline, "{left:?} {directories:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(files_in(temporary.path()), Vec::<PathBuf>::new());
}

fn wait_until_it_runs(demo: &mut Child) {
    let out = BufReader::new(demo.stdout.take().expect("a pipe"));
    let mut lines = out.lines();
    let running = lines.any(|line| line.expect("UTF-8").contains("the demo is running"));
    assert!(running, "it ended before it ran");
    std::thread::spawn(move || lines.count());
}

#[derive(Debug)]
struct Process {
    id: i32,
    parent: i32,
    command: String,
}

impl Process {
    fn all() -> Vec<Self> {
        let listed = Command::new("ps")
            .args(["-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="])
            .output()
            .expect("ps is installed");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        listed.lines().filter_map(Self::read).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let (id, rest) = line.trim().split_once(' ')?;
        let (parent, command) = rest.trim().split_once(' ')?;
        Some(Self {
            id: id.parse().ok()?,
            parent: parent.parse().ok()?,
            command: command.to_owned(),
        })
    }

    /// The demo's directories that its command names.
    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.command.split_whitespace().filter_map(|word| {
            let ours = |part: &Path| {
                let name = part.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("cerby-pg-") || name.starts_with("cerby-demo-")
            };
            let mut ancestors = Path::new(word).ancestors();
            ancestors.find(|part| ours(part)).map(Path::to_path_buf)
        })
    }

    fn is_alive(&self) -> bool {
        kill(Pid::from_raw(self.id), None).is_ok()
    }
}

/// Everything that this process started, directly or not.
fn descendants(root: u32) -> Vec<Process> {
    let mut others = Process::all();
    let mut ids = vec![root.cast_signed()];
    let mut found = Vec::new();
    loop {
        let (children, rest) =
            others.into_iter().partition::<Vec<_>, _>(|process| ids.contains(&process.parent));
        if children.is_empty() {
            return found;
        }
        ids = children.iter().map(|process| process.id).collect();
        found.extend(children);
        others = rest;
    }
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    entries.map(|entry| entry.expect("readable").path()).collect()
}
