//! The manifests fit the program: its port, its probes, its stop, its user, the files of its secrets.

use std::fs;
use std::path::Path;

use cerby_reconciler::config::Config;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The value of a key, wherever it stands; the first one.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().map(|line| line.trim().trim_start_matches("- "));
    let value = line.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).next();
    value.unwrap_or_else(|| panic!("{key} is not there"))
}

#[test]
fn the_manifests_fit_the_program() {
    let config = Config::from_sources(None, Some(Default::default())).expect("the defaults");
    let (deployment, job) =
        (text("deploy/kubernetes/deployment.yaml"), text("deploy/kubernetes/migrate.yaml"));
    let image = text("Dockerfile");
    let port = config.http.listen.port().to_string();
    assert_eq!(value(&deployment, "containerPort"), port);
    assert_eq!(value(&text("deploy/kubernetes/network-policy.yaml"), "port"), port);
    assert!(image.contains(&format!("RECONCILER__HTTP__LISTEN=0.0.0.0:{port}")));
    assert!(image.contains(&format!("EXPOSE {port}\n")));
    for probe in ["/livez", "/readyz"] {
        assert!(deployment.contains(&format!("path: {probe}\n")), "{probe}");
        assert!(text("src/daemon/probes.rs").contains(&format!("\"{probe}\"")), "{probe}");
    }
    assert_eq!(value(&deployment, "prometheus.io/port"), format!("\"{port}\""));
    assert!(text("src/daemon/probes.rs").contains(value(&deployment, "prometheus.io/path")));
    let grace: u64 = value(&deployment, "terminationGracePeriodSeconds").parse().expect("seconds");
    assert!(grace > config.shutdown.grace_s, "work in flight has {} s", config.shutdown.grace_s);
    for manifest in [&deployment, &job] {
        let user = value(manifest, "runAsUser");
        assert!(image.contains(&format!("USER {user}:{user}\n")), "{user}");
        assert_eq!(value(manifest, "readOnlyRootFilesystem"), "true");
        assert_eq!(value(manifest, "drop"), "[ALL]");
        let mount = value(manifest, "mountPath");
        for line in manifest.lines().filter(|line| line.contains("value: /run/")) {
            assert!(line.contains(mount), "{line}");
        }
    }
}

/// The part of a file of compose that describes one service.
fn service<'a>(compose: &'a str, name: &str) -> &'a str {
    let begin = format!("\n  {name}:\n");
    let (_, rest) = compose.split_once(&begin).unwrap_or_else(|| panic!("no service {name}"));
    let mut at = 0;
    let lines = rest.split_inclusive('\n');
    let own = lines.take_while(|line| line.starts_with("    ") || line.trim().is_empty());
    own.for_each(|line| at += line.len());
    &rest[..at]
}

#[test]
fn the_compose_file_fits_the_program() {
    let config = Config::from_sources(None, Some(Default::default())).expect("the defaults");
    let (compose, image) = (text("deploy/compose.yaml"), text("Dockerfile"));
    let replicas = service(&compose, "reconciler");
    let grace = value(replicas, "stop_grace_period").trim_end_matches('s');
    assert!(grace.parse::<u64>().expect("seconds") > config.shutdown.grace_s);
    assert_eq!(value(replicas, "replicas"), "2");
    for hardened in ["read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"] {
        assert!(compose.contains(hardened), "{hardened}");
    }
    for (service_name, after, condition) in [
        ("migrate", "postgres", "service_healthy"),
        ("logins", "migrate", "service_completed_successfully"),
        ("reconciler", "logins", "service_completed_successfully"),
        ("simulator", "logins", "service_completed_successfully"),
    ] {
        let waits = format!("depends_on:\n      {after}:\n        condition: {condition}\n");
        assert!(service(&compose, service_name).contains(&waits), "{service_name}");
    }
    let simulator = service(&compose, "simulator");
    assert_eq!(value(simulator, "profiles"), "[simulated]");
    let key = value(&compose, "RECONCILER__BACKEND__API_KEY");
    assert!(value(simulator, "command").contains(&format!("--api-key, {key},")));
    let target = value(simulator, "target");
    assert!(image.contains(&format!("FROM ${{RUN_BASE}} AS {target}\n")));
    let url = value(&compose, "RECONCILER__BACKEND__BASE_URL");
    let port = url.strip_prefix("http://simulator:").and_then(|rest| rest.split('/').next());
    let port = port.expect("a port");
    assert!(
        image.contains(&format!("0.0.0.0:{port}\"]"))
            && image.contains(&format!("EXPOSE {port}\n"))
    );
}

#[test]
fn every_comment_about_the_grace_says_the_default() {
    let config = Config::from_sources(None, Some(Default::default())).expect("the defaults");
    for path in ["deploy/compose.yaml", "deploy/kubernetes/deployment.yaml"] {
        let says = format!("has shutdown.grace_s, {} s, to end", config.shutdown.grace_s);
        assert!(text(path).contains(&says), "{path} does not say: {says}");
    }
}

/// The logins of the page, of the SQL and of the compose file.
#[test]
fn the_logins_are_the_same_everywhere() {
    let (sql, page) = (text("deploy/logins.sql"), text("docs/deploy.md"));
    let compose = text("deploy/compose.yaml");
    for (login, role) in
        [("cerby_daemon", "reconciler_daemon"), ("cerby_backend", "reconciler_backend")]
    {
        assert!(sql.contains(&format!("('{login}', '{role}')")), "{login}");
        assert!(
            page.contains(login) && compose.contains(&format!("postgres://{login}:")),
            "{login}"
        );
    }
}

/// The variables of the program that a manifest sets.
fn variables(manifest: &str) -> Vec<&str> {
    let lines = manifest.lines().map(|line| line.trim().trim_start_matches("- name: "));
    let ours = lines.filter(|line| line.starts_with("RECONCILER__"));
    ours.map(|line| line.split(':').next().unwrap_or(line)).collect()
}

#[test]
fn every_variable_of_the_manifests_is_a_setting() {
    for path in ["kubernetes/deployment.yaml", "kubernetes/migrate.yaml", "compose.yaml"] {
        let manifest = text(&format!("deploy/{path}"));
        let names = variables(&manifest);
        assert!(!names.is_empty(), "{path}");
        for name in names {
            let given = [(name.to_owned(), "/nowhere".to_owned())];
            // A key that is not known is refused by name; a file that is not there is refused, too, but known.
            let refused = Config::from_sources(None, Some(given.into()));
            let refused = refused.err().map(|error| format!("{error:?}")).unwrap_or_default();
            assert!(!refused.contains("unknown"), "{path}: {name}: {refused}");
        }
    }
}
