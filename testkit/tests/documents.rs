//! The picture of the demo in the documentation is what the demo draws.

use std::fs;
use std::path::Path;

#[test]
fn the_picture_of_the_demo_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/demo.svg");
    let current = testkit::demo::picture();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &current).expect("docs/ can be written to");
    }
    let picture = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        picture == current,
        "docs/demo.svg is not what the demo draws: run the tests of testkit once with UPDATE_DOCS=1"
    );
}
