//! TLS: which certificates of the database and of the backend are accepted, and what is said of the others.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::program::{Program, assert_names};
use crate::support::World;
use crate::support::eventually;
use crate::support::replica::Replica;
use crate::surroundings::back;
use sqlx::PgPool;
use tempfile::TempDir;
use testkit::private_postgres::{Options, PrivatePostgres, Shutdown};

/// A new key of the kind that is made fastest, without a password.
const NEW_KEY: [&str; 6] =
    ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// A certificate authority in a folder of its own.
struct Authority(TempDir);

impl Authority {
    fn new(name: &str) -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        let settings = "[ca]\ndefault_ca = here\n[here]\ndatabase = index\nserial = serial\nnew_certs_dir = .\n\
                        private_key = ca.key\ncertificate = ca.crt\ndefault_md = sha256\npolicy = any\n\
                        unique_subject = no\nrand_serial = yes\n[any]\ncommonName = supplied\n";
        fs::write(authority.path("settings"), settings).unwrap();
        fs::write(authority.path("index"), "").unwrap();
        let subject = format!("/CN={name}");
        authority.openssl(
            &[&NEW_KEY[..], &["-x509", "-subj", &subject, "-keyout", "ca.key", "-out", "ca.crt"]]
                .concat(),
        );
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let ended = Command::new("openssl").args(arguments).current_dir(self.0.path()).output();
        let ended = ended.expect("the tests of TLS need openssl");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    /// A certificate for this name, such as `DNS:db.example`, that is valid until this year.
    fn certificate(&self, name: &str, until: u32) -> Certificate {
        fs::write(self.path("names"), format!("subjectAltName = {name}\n")).unwrap();
        self.openssl(
            &[&NEW_KEY[..], &["-subj", "/CN=server", "-keyout", "server.key", "-out", "request"]]
                .concat(),
        );
        let until = format!("{until}0101000000Z");
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "settings",
            "-extfile",
            "names",
            "-startdate",
            "20200101000000Z",
            "-enddate",
            &until,
            "-in",
            "request",
            "-out",
            "server.crt",
        ]);
        let text = |name| fs::read_to_string(self.path(name)).unwrap();
        Certificate { chain: text("server.crt"), key: text("server.key") }
    }
}

/// As PEM.
struct Certificate {
    chain: String,
    key: String,
}

impl Certificate {
    /// From now on the server shows this certificate.
    async fn is_shown_by(&self, server: &mut PrivatePostgres) {
        let owner = fs::metadata(server.data_dir()).unwrap();
        for (name, text) in [("server.crt", &self.chain), ("server.key", &self.key)] {
            let file = server.data_dir().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        server.restart(Shutdown::Fast).await.unwrap();
    }
}

fn verify_full(server: &PrivatePostgres, authority: &Path) -> String {
    format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), authority.display())
}

#[tokio::test]
async fn verify_full_accepts_the_right_certificate_and_says_what_is_wrong_with_any_other() {
    let mut server = PrivatePostgres::start(Options::default()).await.unwrap();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let world = World::new(pool.clone()).await;
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let url = verify_full(&server, &ours.path("ca.crt"));

    let told = Program::at(&url).run(&["check"]).await.refusal();
    assert_names(&told, &["FAILED   database", "does not support TLS", "ssl = on"]);

    sqlx::query("alter system set ssl = on").execute(&pool).await.unwrap();
    for (certificate, words) in [
        (ours.certificate("DNS:elsewhere.example", 4000), ["127.0.0.1", "database.url"]),
        (other.certificate("IP:127.0.0.1", 4000), ["UnknownIssuer", "sslrootcert"]),
        (ours.certificate("IP:127.0.0.1", 2021), ["expired", "Renew the certificate"]),
    ] {
        certificate.is_shown_by(&mut server).await;
        let told = Program::at(&url).run(&["check"]).await.refusal();
        assert_names(&told, &["FAILED   database", "certificate"]);
        assert_names(&told, &words);
        let replica = Replica::spawn(&url, &world.apps, &[]);
        eventually("it is told", async || replica.count("database.not_ready") == 1).await;
        assert_names(&replica.log(), &["certificate", words[0]]);
    }

    ours.certificate("IP:127.0.0.1", 4000).is_shown_by(&mut server).await;
    let replica = Replica::start(&url, &world.apps, &[]).await;
    back(&world, &replica, "encrypted").await;
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
                     where ssl and application_name = 'cerby-reconciler'";
    assert!(world.count(encrypted).await > 0);

    let missing = url.replace("ca.crt", "no-such-file");
    let told = Program::at(&missing).run(&["check"]).await.refusal();
    assert_names(&told, &["FAILED   database", "sslrootcert"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_mode_that_does_not_prove_the_server_is_told_where_the_server_is_on_another_machine() {
    // Names and addresses of other machines that nothing answers at.
    let world = crate::support::apps();
    let apps = testkit::simulator::Simulator::start(world, Default::default()).await.unwrap();
    for (url, sslmode) in [
        ("postgres://u:p@db.invalid/d", "prefer"),
        ("postgres://u:p@db.invalid/d?sslmode=require", "require"),
        ("postgres://u:p@192.0.2.1/d?sslmode=verify-ca", "verify-ca"),
        ("postgres://u:p@localhost/d?host=db.invalid&sslmode=disable", "disable"),
    ] {
        let replica = Replica::spawn(url, &apps, &[]);
        eventually("it is told", async || replica.count("database.unverified") == 1).await;
        assert_eq!(replica.last("database.unverified").unwrap()["sslmode"], sslmode, "{url}");
    }
    for url in [
        "postgres://u:p@db.invalid/d?sslmode=verify-full",
        "postgres://u:p@localhost:1/d",
        "postgres://u:p@[::1]:1/d",
        "postgres://u:p@127.0.0.1:1/d?sslmode=disable",
        "postgres://u:p@localhost/d?host=/no/such/folder",
    ] {
        let replica = Replica::spawn(url, &apps, &[]);
        eventually("it waits", async || replica.count("database.not_ready") == 1).await;
        assert_eq!(replica.count("database.unverified"), 0, "{url}");
    }
}

/// A server that answers any request over TLS with a page, with the certificate that the authority made last.
struct Site {
    process: Child,
    port: u16,
}

impl Site {
    async fn with_certificate_of(authority: &Authority) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-cert", "server.crt", "-key", "server.key"])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .current_dir(authority.0.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let site = Self { process, port };
        let there = async || TcpStream::connect(("127.0.0.1", port)).is_ok();
        eventually("the site is there", there).await;
        site
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

#[tokio::test]
async fn a_backend_is_believed_by_a_certificate_that_the_machine_trusts_and_by_no_other() {
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    for (authority, name, until, words) in [
        (&ours, "IP:127.0.0.1", 4000, "path of the API"),
        (&ours, "DNS:elsewhere.example", 4000, "not valid for name"),
        (&ours, "IP:127.0.0.1", 2021, "expired"),
        (&other, "IP:127.0.0.1", 4000, "UnknownIssuer"),
    ] {
        authority.certificate(name, until);
        let site = Site::with_certificate_of(authority).await;
        let told = Program::at("postgres://localhost:1/nowhere")
            .with(
                "RECONCILER__BACKEND__BASE_URL",
                format!("https://127.0.0.1:{}/{{workspace}}", site.port),
            )
            .with("SSL_CERT_FILE", ours.path("ca.crt").to_str().unwrap())
            .run(&["check", "--workspace", "acme"])
            .await
            .refusal();
        let told = told.split("FAILED   backend").nth(1).unwrap();
        assert_names(told, &[words]);
    }
}
