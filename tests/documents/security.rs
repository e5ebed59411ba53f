//! The page of security names tests that there are.

use std::fs;

use super::current::{root, sources, text};

#[test]
fn every_test_that_the_page_of_security_names_exists() {
    let page = text("SECURITY.md");
    let code: String = ["src", "tests", "testkit"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_name = |word: &&str| word.chars().all(of_a_name) && word.matches('_').count() >= 3;
    let names: Vec<_> = page.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(names.len() > 30, "only {} names were found", names.len());
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "SECURITY.md names {name}: no such test");
    }
}
