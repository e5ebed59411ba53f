//! The folder of instructions: its files as they are. What is in them is read by `manual_action/instructions`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Instructions;

/// The longest text, in bytes.
const LONGEST_TEXT: u64 = 64 * 1024;

/// The longest picture, in bytes.
const LONGEST_PICTURE: u64 = 2 * 1024 * 1024;

/// All pictures are kept in memory.
const LONGEST_OF_ALL: usize = 64 * 1024 * 1024;

const MOST_FILES: usize = 2000;

/// How the names of pictures end.
const PICTURES: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFile {
    pub name: String,
    /// Whether it is a text; else a picture.
    pub is_text: bool,
    pub bytes: Vec<u8>,
}

/// What is in the folder, and everything that is wrong with it.
#[derive(Debug, Default)]
pub struct Folder {
    pub files: Vec<FolderFile>,
    /// Each names the file, and says what to do.
    pub faults: Vec<String>,
}

impl Instructions {
    /// Reads the folder; nothing if none is configured.
    pub fn read(&self) -> Folder {
        let Some(folder) = &self.folder else { return Folder::default() };
        match paths(folder) {
            Ok((root, paths)) => read_all(folder, &root, &paths),
            Err(fault) => Folder { files: Vec::new(), faults: vec![fault] },
        }
    }
}

/// The folder itself, and its files in the order of their names. Hidden files are left out: Kubernetes keeps the versions
/// of a mounted folder in some.
fn paths(folder: &str) -> Result<(PathBuf, Vec<PathBuf>), String> {
    let wrong = |error: std::io::Error| {
        format!(
            "instructions.folder = {folder:?} cannot be read: {error}. Name a folder that the program may read"
        )
    };
    let root = fs::canonicalize(folder).map_err(wrong)?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(&root).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden {
            paths.push(path);
        }
        if paths.len() > MOST_FILES {
            return Err(format!(
                "instructions.folder = {folder:?} has more than {MOST_FILES} files: name a folder of instructions alone"
            ));
        }
    }
    paths.sort();
    Ok((root, paths))
}

fn read_all(folder: &str, root: &Path, paths: &[PathBuf]) -> Folder {
    let (mut found, mut bytes) = (Folder::default(), 0);
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match file(root, path) {
            Ok(file) => {
                bytes += file.bytes.len();
                found.files.push(file);
            }
            Err(why) => found.faults.push(format!("{folder}/{name}: {why}")),
        }
        if bytes > LONGEST_OF_ALL {
            let all = LONGEST_OF_ALL / 1024 / 1024;
            found.faults.push(format!(
                "{folder}: all files together have more than {all} MiB: make pictures smaller"
            ));
            break;
        }
    }
    found
}

fn file(root: &Path, path: &Path) -> Result<FolderFile, String> {
    let unreadable = |error: std::io::Error| {
        format!("cannot be read: {error}. Give the program the right to read it, or remove it")
    };
    let real = fs::canonicalize(path).map_err(unreadable)?;
    if !real.starts_with(root) {
        return Err("is a link that leads out of the folder: put the file itself there".to_owned());
    }
    if !fs::metadata(&real).map_err(unreadable)?.is_file() {
        return Err("is no file: put texts and pictures right into the folder".to_owned());
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("has a name that is not UTF-8: rename it")?.to_owned();
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let is_text = end == "txt";
    if !is_text && !PICTURES.contains(&end) {
        return Err("is neither a text (.txt) nor a picture (.png, .jpg, .jpeg, .webp): remove it"
            .to_owned());
    }
    let most = if is_text { LONGEST_TEXT } else { LONGEST_PICTURE };
    let mut bytes = Vec::new();
    let opened = fs::File::open(&real).map_err(unreadable)?;
    opened.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(format!("is longer than {} KiB: make it smaller", most / 1024));
    }
    Ok(FolderFile { name, is_text, bytes })
}

/// Whether a text is the address of a page: https, with a host and without a user.
pub fn is_https_link(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(folder: &Path) -> Folder {
        Instructions { folder: Some(folder.display().to_string()) }.read()
    }

    #[test]
    fn without_a_folder_there_is_nothing_and_nothing_is_wrong() {
        let nothing = Instructions { folder: None }.read();
        assert!(nothing.files.is_empty() && nothing.faults.is_empty());
    }

    #[test]
    fn a_folder_that_is_missing_or_a_file_is_refused_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        fs::write(&file, "").unwrap();
        for wrong in [folder.path().join("nowhere"), file] {
            let faults = read(&wrong).faults;
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].starts_with("instructions.folder = "), "{faults:?}");
        }
    }

    #[test]
    fn files_are_read_in_their_order_and_also_by_links_within_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        // As Kubernetes mounts a folder.
        fs::create_dir(folder.path().join("..version-1")).unwrap();
        fs::write(folder.path().join("..version-1/b.txt"), "text").unwrap();
        symlink("..version-1", folder.path().join("..data")).unwrap();
        symlink("..data/b.txt", folder.path().join("b.txt")).unwrap();
        fs::write(folder.path().join("a.png"), "picture").unwrap();
        let Folder { files, faults } = read(folder.path());
        assert!(faults.is_empty(), "{faults:?}");
        let names: Vec<_> = files.iter().map(|file| (&*file.name, file.is_text)).collect();
        assert_eq!(names, [("a.png", false), ("b.txt", true)]);
        assert_eq!(files[1].bytes, b"text");
    }

    #[test]
    fn all_that_is_wrong_with_files_is_told_at_once_each_by_its_name() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| folder.path().join(name);
        fs::write(elsewhere.path().join("out.txt"), "").unwrap();
        symlink(elsewhere.path().join("out.txt"), at("out.txt")).unwrap();
        symlink("nowhere", at("dangling.txt")).unwrap();
        fs::create_dir(at("folder.txt")).unwrap();
        fs::write(at("notes.md"), "").unwrap();
        fs::write(at("long.txt"), vec![b'x'; LONGEST_TEXT as usize + 1]).unwrap();
        fs::write(at("long.png"), vec![b'x'; LONGEST_PICTURE as usize + 1]).unwrap();
        fs::write(at("good.txt"), vec![b'x'; LONGEST_TEXT as usize]).unwrap();
        let Folder { files, faults } = read(folder.path());
        let names: Vec<_> = files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["good.txt"]);
        for (name, why) in [
            ("dangling.txt", "cannot be read"),
            ("folder.txt", "is no file"),
            ("long.png", "longer than 2048 KiB"),
            ("long.txt", "longer than 64 KiB"),
            ("notes.md", "neither a text"),
            ("out.txt", "leads out of the folder"),
        ] {
            let start = format!("{}/{name}: ", folder.path().display());
            let is_told = |fault: &&String| fault.starts_with(&start) && fault.contains(why);
            assert_eq!(faults.iter().filter(is_told).count(), 1, "{name}: {faults:#?}");
        }
        assert_eq!(faults.len(), 6, "{faults:#?}");
    }

    #[test]
    fn a_link_is_https_with_a_host_and_without_a_user() {
        assert!(is_https_link("https://app.example/admin?of=a%2Fb"));
        for other in [
            "http://app.example",
            "javascript:alert(1)",
            "https://",
            "app.example",
            "https://me@app.example",
        ] {
            assert!(!is_https_link(other), "{other}");
        }
    }
}
