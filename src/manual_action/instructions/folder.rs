//! The texts and pictures of the folder, each checked by rendering it with an example.

use std::collections::HashMap;

use minijinja::{Value, context};
use sha2::{Digest, Sha256};

use super::file::{self, Fault, File, Line};
use super::{Own, Picture, StepPicture, TEMPLATES, placeholders};
use crate::config::{Folder, FolderFile, is_https_link};
use crate::membership::{ActionOperation, IntegrationKind};
use crate::text::hex;

/// What a text is for: an application, an operation, and a kind if it is for one kind alone.
pub(super) type For = (String, ActionOperation, Option<IntegrationKind>);

#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) by_use: HashMap<For, Own>,
    pub(super) pictures: HashMap<String, Picture>,
}

/// Reads the files of a folder; everything that is wrong at once, with file and line.
pub(super) fn texts(name: &str, folder: Folder) -> Result<Texts, Vec<String>> {
    let (mut texts, mut faults) = (Texts::default(), folder.faults);
    for text in folder.files.iter().filter(|file| file.is_text) {
        if let Err(wrong) = texts.add(text, &folder.files) {
            let told = |(line, why): Fault| format!("{name}/{}:{line}: {why}", text.name);
            faults.extend(wrong.into_iter().map(told));
        }
    }
    if faults.is_empty() { Ok(texts) } else { Err(faults) }
}

impl Texts {
    fn add(&mut self, text: &FolderFile, files: &[FolderFile]) -> Result<(), Vec<Fault>> {
        let file = file::parse(&text.bytes)?;
        let mut faults = wrong_lines(&file);
        let mut hash = Sha256::new_with_prefix(&text.bytes);
        let mut pictures = Vec::new();
        for shot in &file.shots {
            match picture(&shot.file, files) {
                Ok(picture) => {
                    let digest = hex(&Sha256::digest(&picture.bytes));
                    hash.update(&digest);
                    let (step, alt) = (shot.step, shot.alt.clone());
                    pictures.push(StepPicture { step, alt, hash: digest.clone() });
                    self.pictures.insert(digest, picture);
                }
                Err(why) => faults.push((shot.line, why)),
            }
        }
        let key = (file.application.clone(), file.operation, file.kind);
        if let Some(other) = self.by_use.get(&key) {
            let why = format!(
                "{} is for the same application, operation and kind: keep one of the two",
                other.name
            );
            faults.push((1, why));
        }
        if !faults.is_empty() {
            faults.sort();
            return Err(faults);
        }
        self.by_use.insert(
            key,
            Own {
                name: text.name.clone(),
                hash: format!("sha256:{}", hex(&hash.finalize())),
                title: file.title.map(|line| line.text),
                admin: file.admin.map(|line| line.text),
                steps: file.steps.into_iter().map(|line| line.text).collect(),
                pictures,
            },
        );
        Ok(())
    }
}

/// A picture is what its bytes say, whatever its name.
fn picture(name: &str, files: &[FolderFile]) -> Result<Picture, String> {
    let file = files.iter().find(|file| !file.is_text && file.name == name);
    let file = file.ok_or_else(|| {
        format!(
            "the folder has no picture {name:?} that can be used: put it there, or correct the name"
        )
    })?;
    let kind = match file.bytes.as_slice() {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => return Err(format!("{name:?} is no PNG, JPEG or WebP: save it as one of these")),
    };
    Ok(Picture { kind, bytes: file.bytes.clone() })
}

/// Members who are known well, and members of whom only the email is known and who get no role.
fn examples() -> [Value; 2] {
    ["EDITOR and VIEWER", ""].map(|roles| {
        context! {
            member => "Jo Doe (jo@example.com)",
            who => "jo-studio (jo@example.com)",
            email => "jo@example.com",
            app => "An app",
            roles,
            workspace => "acme",
            integration => "an-app",
        }
    })
}

/// Every line that cannot be rendered.
fn wrong_lines(file: &File) -> Vec<Fault> {
    let known: &[&str] = match file.operation {
        ActionOperation::Reconnect => &placeholders::OF_LOGINS,
        _ => &placeholders::OF_MEMBERS,
    };
    let wrong = |line: &Line, checked: Result<(), String>| Some((line.number, checked.err()?));
    let lines = file.title.iter().chain(&file.steps);
    let lines = lines.filter_map(|line| wrong(line, check(&line.text, known)));
    lines.chain(file.admin.iter().filter_map(|line| wrong(line, check_link(&line.text)))).collect()
}

fn check(line: &str, known: &[&str]) -> Result<(), String> {
    placeholders::check(line, known)?;
    for example in examples() {
        let text = TEMPLATES.render_str(line, example).map_err(|error| {
            format!(
                "cannot be filled in: {}. Close each {{% if %}} with {{% endif %}}",
                error.detail().unwrap_or("wrong syntax")
            )
        })?;
        if text.trim().is_empty() {
            return Err(
                "says nothing once it is filled in: write words beside the placeholders".to_owned()
            );
        }
    }
    Ok(())
}

fn check_link(line: &str) -> Result<(), String> {
    check(line, &placeholders::OF_LINKS)?;
    let [example, _] = examples();
    let link = TEMPLATES.render_str(line, example).unwrap_or_default();
    match is_https_link(&link) {
        true => Ok(()),
        false => Err(format!("{link:?} is no address that begins with https:// and a host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n...";

    fn text(name: &str, text: &str) -> FolderFile {
        FolderFile { name: name.to_owned(), is_text: true, bytes: text.as_bytes().to_vec() }
    }

    fn shot(name: &str, bytes: &[u8]) -> FolderFile {
        FolderFile { name: name.to_owned(), is_text: false, bytes: bytes.to_vec() }
    }

    fn read(files: Vec<FolderFile>) -> Result<Texts, Vec<String>> {
        texts("/texts", Folder { files, faults: Vec::new() })
    }

    fn removal(more: &str) -> FolderFile {
        text(
            "a.txt",
            &format!(
                "application: asana_tenant\noperation: remove\n{more}\n1. Remove {{{{ who }}}}.\n"
            ),
        )
    }

    #[test]
    fn a_text_with_its_picture_is_found_by_what_it_is_for() {
        let file = text(
            "a.txt",
            "application: asana_tenant\noperation: remove\n1. Open Members.\npicture: m.png, Members\n",
        );
        let texts = read(vec![file, shot("m.png", PNG)]).unwrap();
        let own = &texts.by_use[&("asana_tenant".to_owned(), ActionOperation::Remove, None)];
        let picture = &own.pictures[0];
        assert_eq!((picture.step, &*picture.alt, picture.hash.len()), (1, "Members", 64));
        assert_eq!(texts.pictures[&picture.hash].kind, "image/png");
    }

    #[test]
    fn the_hash_changes_with_the_text_and_with_its_picture_and_with_nothing_else() {
        let own = "application: asana_tenant\noperation: remove\n1. Open Members.\npicture: m.png, Members\n";
        let hash = |own: &str, bytes: &[u8], more: Vec<FolderFile>| {
            let files = [vec![text("a.txt", own), shot("m.png", bytes)], more].concat();
            read(files).unwrap().by_use.into_values().next().unwrap().hash
        };
        let before = hash(own, PNG, vec![]);
        assert_eq!(hash(own, PNG, vec![shot("other.png", PNG)]), before);
        assert_ne!(hash(&own.replace("Open", "See"), PNG, vec![]), before);
        assert_ne!(hash(own, b"\x89PNG\r\n\x1a\nnew", vec![]), before);
    }

    #[test]
    fn a_picture_is_known_by_its_bytes() {
        for (bytes, kind) in [
            (PNG, Some("image/png")),
            (b"\xff\xd8\xff\xe0...", Some("image/jpeg")),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some("image/webp")),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
            (b"", None),
        ] {
            let found = picture("m.png", &[shot("m.png", bytes)]).ok().map(|picture| picture.kind);
            assert_eq!(found, kind, "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_or_shown_is_refused_with_file_and_line() {
        let picture = "1. Open Members.\npicture: m.png, Members\n";
        let with_picture = |shots: Vec<FolderFile>| {
            let file =
                text("a.txt", &format!("application: asana_tenant\noperation: remove\n{picture}"));
            [vec![file], shots].concat()
        };
        for (files, told) in [
            (
                vec![removal("title: Remove {{ whom }}")],
                "/texts/a.txt:3: there is no placeholder \"whom\"",
            ),
            (vec![removal("title: {% if roles %}x")], "/texts/a.txt:3: cannot be filled in"),
            (vec![removal("title: {% if roles %}x{% endif %}")], "/texts/a.txt:3: says nothing"),
            (
                vec![removal("admin: http://app.example")],
                "/texts/a.txt:3: \"http://app.example\" is no address",
            ),
            (
                vec![removal("admin: https://app.example/{{ email }}")],
                "/texts/a.txt:3: there is no placeholder \"email\"",
            ),
            (
                vec![removal(""), FolderFile { name: "b.txt".to_owned(), ..removal("") }],
                "/texts/b.txt:1: a.txt is for the same",
            ),
            (with_picture(vec![]), "/texts/a.txt:4: the folder has no picture \"m.png\""),
            (with_picture(vec![shot("m.png", b"GIF89a")]), "/texts/a.txt:4: \"m.png\" is no PNG"),
            (
                vec![text(
                    "a.txt",
                    "application: asana_tenant\noperation: reconnect\n1. Ask {{ who }}.\n",
                )],
                "/texts/a.txt:3: there is no placeholder \"who\"",
            ),
        ] {
            let faults = read(files).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with(told), "{told}: {faults:?}");
        }
    }

    #[test]
    fn all_faults_of_all_files_are_told_at_once() {
        let other = text("b.txt", "operation: jump\n1. {{ x }}\n");
        let faults = read(vec![removal("title: {{ y }}\nadmin: x"), other]).unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:#?}");
    }
}
