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

#[test]
fn every_variable_of_the_manifests_is_a_setting() {
    for manifest in ["deployment", "migrate"] {
        let text = text(&format!("deploy/kubernetes/{manifest}.yaml"));
        let names =
            text.lines().filter_map(|line| line.trim().strip_prefix("- name: RECONCILER__"));
        let names: Vec<_> = names.collect();
        assert!(!names.is_empty());
        for name in names {
            let key = name.to_lowercase().replace("__", ".");
            let variables = [(format!("RECONCILER__{name}"), "/nowhere".to_owned())];
            // A key that is not known is refused by name; a file that is not there is refused, too, but known.
            let refused = Config::from_sources(None, Some(variables.into()));
            let refused = refused.err().map(|error| format!("{error:?}")).unwrap_or_default();
            assert!(!refused.contains("unknown"), "{key}: {refused}");
        }
    }
}
