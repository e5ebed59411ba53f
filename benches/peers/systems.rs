//! Who takes part, and how its database says that everything is finished.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// A system under test.
pub(super) struct System {
    /// Its name, for `PEERS_ONLY`.
    pub(super) name: &'static str,
    /// Its name and version.
    pub(super) label: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<PathBuf>,
    /// Where its driver runs. It is there once the system is installed.
    pub(super) folder: PathBuf,
    /// It can keep an order per key.
    pub(super) keeps_order: bool,
    /// As many as it finishes in bearable time, where that is not much.
    pub(super) most_tasks: Option<u32>,
    /// Whether anything is unfinished, cheaply: the newest task usually tells. May use the number of tasks.
    pub(super) unfinished: &'static str,
    /// How many are unfinished, exactly. May use the number of tasks.
    pub(super) left: &'static str,
}

/// What is unfinished of awa's jobs: all that are not among its terminal ones.
macro_rules! awa_left {
    () => {
        "select ($1
            - (select coalesce(sum(live_terminal_count), 0) from awa.queue_terminal_live_counts)
            - (select coalesce(sum(terminal_delta), 0) from awa.queue_terminal_count_deltas)
            - (select coalesce(sum(completed_count), 0) from awa.receipt_completion_batches)
            + (select count(*) from awa.receipt_completion_tombstones)
            - (select coalesce(sum(pruned_completed_count), 0) from awa.queue_terminal_rollups))::bigint"
    };
}

/// Those that are chosen (all, if none is named) and installed.
pub(super) fn installed(chosen: &[String]) -> anyhow::Result<Vec<System>> {
    let mut systems = all()?;
    for name in chosen {
        ensure!(systems.iter().any(|system| system.name == name), "{name} is none of the systems");
    }
    systems.retain(|system| chosen.is_empty() || chosen.iter().any(|name| name == system.name));
    systems.retain(|system| {
        let present = system.folder.is_dir() && is_program(&system.program);
        if !present {
            println!("{} is left out: its driver is not built", system.label);
        }
        present
    });
    Ok(systems)
}

fn all() -> anyhow::Result<Vec<System>> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("a file is in a folder")?;
    let target = beside.ancestors().nth(2).context("in the target folder")?;
    let peers = target.join("peers");
    let rust = peers.join("rust/release");
    Ok(vec![
        ourselves(beside)?,
        graphile_worker(&peers),
        graphile_worker_rs(&rust),
        awa(&rust),
        pg_boss(&peers),
        sqlxmq(&rust),
        procrastinate(&peers),
    ])
}

/// Its driver is in the benchmark `queue`, which is built beside this one.
fn ourselves(beside: &Path) -> anyhow::Result<System> {
    let mut builds = Vec::new();
    for entry in fs::read_dir(beside)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with("queue-") && name.ends_with(EXE_SUFFIX) && is_program(&path) {
            builds.push((path.metadata()?.modified()?, path));
        }
    }
    let newest = builds.into_iter().max().map(|(_, path)| path);
    Ok(System {
        name: "cerby-reconciler",
        label: concat!("cerby-reconciler ", env!("CARGO_PKG_VERSION")),
        program: newest.unwrap_or_else(|| beside.join("queue")),
        arguments: vec![PathBuf::from("driver")],
        folder: beside.to_owned(),
        keeps_order: true,
        most_tasks: None,
        unfinished: CERBY_RECONCILER_UNFINISHED,
        left: "select (select count(*) from reconciler.members \
                       where ready_task_id is not null or blocked_task_ids <> '{}') \
                      + (select count(*) from reconciler.arrivals)",
    })
}

/// Of each integration by the index of due times, or each look would read the whole table.
const CERBY_RECONCILER_UNFINISHED: &str = "select exists (select from reconciler.integration_states i \
    cross join lateral (select from reconciler.members m \
        where m.workspace_id = i.workspace_id and m.integration_id = i.integration_id \
          and m.ready_task_id is not null and m.next_attempt_at is not null \
        order by m.ready_is_removal desc, m.next_attempt_at desc limit 1) ready)";

const GRAPHILE_WORKER_UNFINISHED: &str = "select \
    (select id from graphile_worker._private_jobs order by id desc limit 1) is not null";
const GRAPHILE_WORKER_LEFT: &str = "select count(*) from graphile_worker._private_jobs";

fn graphile_worker(peers: &Path) -> System {
    System {
        name: "graphile-worker",
        label: "graphile-worker 0.17.3 (npm)",
        program: PathBuf::from("node"),
        arguments: vec![peers.join("graphile-worker/driver.mjs")],
        folder: peers.join("graphile-worker/node_modules"),
        keeps_order: true,
        most_tasks: None,
        unfinished: GRAPHILE_WORKER_UNFINISHED,
        left: GRAPHILE_WORKER_LEFT,
    }
}

fn graphile_worker_rs(rust: &Path) -> System {
    System {
        name: "graphile_worker",
        label: "graphile_worker 0.14.1 (crate)",
        program: rust.join(format!("peer-graphile-worker{EXE_SUFFIX}")),
        arguments: Vec::new(),
        folder: rust.to_owned(),
        keeps_order: true,
        most_tasks: None,
        unfinished: GRAPHILE_WORKER_UNFINISHED,
        left: GRAPHILE_WORKER_LEFT,
    }
}

/// It appends what became of a job. The counts are those of its own `queue_counts`, with all jobs in one queue.
fn awa(rust: &Path) -> System {
    System {
        name: "awa",
        label: "awa 0.6.9 (crate)",
        program: rust.join(format!("peer-awa{EXE_SUFFIX}")),
        arguments: Vec::new(),
        folder: rust.to_owned(),
        keeps_order: false,
        most_tasks: Some(50_000),
        unfinished: concat!(
            "select case when (
                select sum(awa.sequence_next_value(heads.seq_name) - awa.sequence_next_value(claims.seq_name))
                from awa.queue_enqueue_heads heads
                join awa.queue_claim_heads claims using (queue, priority, enqueue_shard)) > 0
            then true else (",
            awa_left!(),
            ") > 0 end"
        ),
        left: awa_left!(),
    }
}

fn pg_boss(peers: &Path) -> System {
    System {
        name: "pg-boss",
        label: "pg-boss 10.4.2 (npm)",
        program: PathBuf::from("node"),
        arguments: vec![peers.join("pg-boss/driver.mjs")],
        folder: peers.join("pg-boss/node_modules"),
        keeps_order: false,
        most_tasks: Some(20_000),
        unfinished: "select case
            when (select id from pgboss.job where name = 'peers' and state < 'active'
                  order by start_after desc limit 1) is not null
            then true
            else exists (select from pgboss.job where name = 'peers' and state = 'active') end",
        left: "select count(*) from pgboss.job where name = 'peers' and state < 'completed'",
    }
}

fn sqlxmq(rust: &Path) -> System {
    System {
        name: "sqlxmq",
        label: "sqlxmq 0.6.0 (crate)",
        program: rust.join(format!("peer-sqlxmq{EXE_SUFFIX}")),
        arguments: Vec::new(),
        folder: rust.to_owned(),
        keeps_order: true,
        most_tasks: Some(10_000),
        unfinished: "select exists (select from mq_msgs where id <> uuid_nil())",
        left: "select count(*) from mq_msgs where id <> uuid_nil()",
    }
}

fn procrastinate(peers: &Path) -> System {
    let environment = peers.join("procrastinate");
    System {
        name: "procrastinate",
        label: "procrastinate 3.10.0 (PyPI)",
        program: environment.join("bin/python"),
        arguments: vec![environment.join("driver.py")],
        folder: environment,
        keeps_order: true,
        most_tasks: Some(5_000),
        unfinished: "select case
            when (select status in ('todo', 'doing') from procrastinate_jobs order by id desc limit 1)
            then true
            else exists (select from procrastinate_jobs where status in ('todo', 'doing')) end",
        left: "select count(*) from procrastinate_jobs where status in ('todo', 'doing')",
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() || (path.components().count() == 1 && on_path(path))
}

fn on_path(program: &Path) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}
