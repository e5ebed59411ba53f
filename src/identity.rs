//! Identities: emails and names in the app in one normal form, and which entry is about which person. Pure.
//!
//! Apps write the same person in many ways: `JÖRG@example.com`, a trailing blank, a letter and its accent as two
//! characters, a domain in Punycode, a guest's address in a form of the app's own. A search for one spelling would miss
//! a person who is there, and they would count as gone. Therefore all code that compares two names compares them here.

use std::borrow::Cow;
use std::collections::HashMap;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// What Entra ID puts between a guest's address, in which `@` is written as `_`, and the tenant's domain.
const GUEST: &str = "#ext#@";

/// The normal form of an email or a name in the app; empty if none of its characters is visible.
///
/// It is lower case, as RFC 8265 maps usernames, and not full case folding, which would make `groß` and `gross` one
/// person.
pub fn normal(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let lower: String = nfc.normalize(&visible).chars().flat_map(char::to_lowercase).collect();
    // Whether a sigma is final depends on which software changed its case, and where.
    let lower = nfc.normalize(&lower).replace('ς', "σ");
    let name = lower.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = guest(&name).unwrap_or(name);
    Cow::Owned(address(&name).unwrap_or(name))
}

/// Whether a text is surely normal already. Most are, and a snapshot has many thousands.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && byte != b'#';
    text.bytes().all(is_plain) && !text.ends_with('.')
}

fn is_invisible(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// The guest's own address in `jo_example.com#ext#@tenant.example`.
fn guest(name: &str) -> Option<String> {
    let (own, _) = name.split_once(GUEST)?;
    let (local, domain) = own.rsplit_once('_')?;
    let is_address = !local.is_empty() && domain.contains('.') && !own.contains(['@', '#']);
    is_address.then(|| format!("{local}@{domain}"))
}

/// An address with its domain in the form of IDNA; `None` if the text is not an address.
fn address(name: &str) -> Option<String> {
    let (local, domain) = name.rsplit_once('@')?;
    let (local, domain) = (local.trim_end(), domain.trim_start());
    let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
    let ascii = ascii.trim_end_matches('.');
    (!local.is_empty() && !ascii.is_empty()).then(|| format!("{local}@{ascii}"))
}

/// The keys by which a person is known, in their normal form. A name without a visible character counts as missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys<'a> {
    id: Option<&'a str>,
    email: Option<Cow<'a, str>>,
    username: Option<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    pub fn new(id: Option<&'a str>, email: Option<&'a str>, username: Option<&'a str>) -> Self {
        let shown = |name: Option<&'a str>| name.map(normal).filter(|name| !name.is_empty());
        Self { id, email: shown(email), username: shown(username) }
    }

    pub fn id(&self) -> Option<&str> {
        self.id
    }

    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// Whether one of the keys has this normal form.
    pub fn show(&self, name: &str) -> bool {
        !name.is_empty()
            && (self.id.is_some_and(|id| normal(id) == name) || self.names().any(|one| one == name))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.email, &self.username].into_iter().flatten().map(Cow::as_ref)
    }

    /// Whether two entries are about one person. The strongest key that both have decides: first ids, then emails. If
    /// only one has an email, the names decide, and the name of one in the app may be the address of the other.
    pub fn fit(&self, other: &Keys<'_>) -> bool {
        if let Some((id, other)) = self.id.zip(other.id) {
            return id == other;
        }
        if let Some((email, other)) = self.email.as_ref().zip(other.email.as_ref()) {
            return email == other;
        }
        self.names().any(|name| other.names().any(|other| name == other))
    }

    /// Whether an entry is about this person, as Cerby knows them. The app may show as the email what Cerby knows as
    /// the name in the app.
    pub fn are_of(&self, entry: &Keys<'_>) -> bool {
        let shows_username = || entry.email.is_some() && entry.email == self.username;
        self.fit(entry) || entry.id.is_none() && shows_username()
    }
}

/// A person, as Cerby knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub member: String,
    pub email: String,
    /// Their name in the app, if it differs from the email.
    pub username: Option<String>,
}

impl Identity {
    pub fn keys(&self) -> Keys<'_> {
        Keys::new(Some(&self.member), Some(&self.email), self.username.as_deref())
    }
}

/// Entries, indexed by the person they are about.
#[derive(Debug)]
pub struct Directory<'a, T> {
    entries: Vec<(Keys<'a>, T)>,
    by_id: HashMap<&'a str, Vec<usize>>,
    by_name: HashMap<Cow<'a, str>, Named>,
}

/// Positions of the entries with one name. A person with an id is never one of those with another id.
#[derive(Debug, Default)]
struct Named {
    with_id: Vec<usize>,
    without_id: Vec<usize>,
}

impl<'a, T> FromIterator<(Keys<'a>, T)> for Directory<'a, T> {
    fn from_iter<I: IntoIterator<Item = (Keys<'a>, T)>>(entries: I) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        let (mut by_id, mut by_name) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Named>::new());
        for (place, (keys, _)) in entries.iter().enumerate() {
            if let Some(id) = keys.id {
                by_id.entry(id).or_default().push(place);
            }
            for name in [&keys.email, &keys.username].into_iter().flatten() {
                let named = by_name.entry(name.clone()).or_default();
                match keys.id {
                    Some(_) => named.with_id.push(place),
                    None => named.without_id.push(place),
                }
            }
        }
        Self { entries, by_id, by_name }
    }
}

impl<'a, T> Directory<'a, T> {
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// The entries that may be about a person and that this rule accepts, in the order in which they were put in.
    pub fn find(&self, keys: &Keys<'_>, is_one: impl Fn(&Keys<'a>) -> bool) -> Vec<&T> {
        let mut places: Vec<usize> =
            keys.id.and_then(|id| self.by_id.get(id)).into_iter().flatten().copied().collect();
        for named in keys.names().filter_map(|name| self.by_name.get(name)) {
            places.extend(&named.without_id);
            if keys.id.is_none() {
                places.extend(&named.with_id);
            }
        }
        places.sort_unstable();
        places.dedup();
        let entries = places.into_iter().map(|place| &self.entries[place]);
        entries.filter(|(keys, _)| is_one(keys)).map(|(_, entry)| entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use icu_normalizer::DecomposingNormalizerBorrowed;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn every_spelling_of_a_name_has_one_normal_form() {
        let table = [
            ("Jo@Example.com", "jo@example.com"),
            ("JÖRG@example.com", "jörg@example.com"),
            ("jo\u{308}rg@example.com", "jörg@example.com"),
            ("  jo@example.com\u{a0}", "jo@example.com"),
            ("jo @ example.com", "jo@example.com"),
            ("\u{feff}jo\u{200b}@exam\u{ad}ple.com\u{200f}", "jo@example.com"),
            ("jo@example.com.", "jo@example.com"),
            ("jo@MÜLLER.example", "jo@xn--mller-kva.example"),
            ("jo@XN--MLLER-KVA.example", "jo@xn--mller-kva.example"),
            ("jo@müller。example", "jo@xn--mller-kva.example"),
            ("jo@no_domain..", "jo@no_domain"),
            ("jo_example.com#EXT#@tenant.onmicrosoft.com", "jo@example.com"),
            ("Jo_Ann_example.com#ext#@tenant.onmicrosoft.com", "jo_ann@example.com"),
            ("jo_ann#EXT#@tenant.example", "jo_ann#ext#@tenant.example"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευσ"),
            ("οδυσσευς", "οδυσσευσ"),
            ("Jo\u{a0} Doe", "jo doe"),
            ("@jo", "@jo"),
            ("jo@", "jo@"),
            ("\u{200b} \t", ""),
            ("", ""),
        ];
        for (name, expected) in table {
            assert_eq!(normal(name), expected, "{name:?}");
        }
    }

    #[test]
    fn names_that_only_look_alike_are_of_different_people() {
        let table = [
            ("jo@example.com", "jo@example.org"),
            ("jo@example.com", "jo+work@example.com"),
            ("jo.doe@example.com", "jodoe@example.com"),
            ("jo@example.com", "jо@example.com"), // a Cyrillic o
            ("groß@example.com", "gross@example.com"),
            ("jörg@example.com", "jorg@example.com"),
            ("jo@müller.example", "jo@muller.example"),
            ("ışık", "isik"),
            ("jo_example.com@tenant.example", "jo@example.com"),
            ("jo doe", "jodoe"),
        ];
        for (one, other) in table {
            assert_ne!(normal(one), normal(other));
        }
    }

    #[test]
    fn the_strongest_key_that_both_have_tells_who_is_who() {
        type Known = (Option<&'static str>, Option<&'static str>, Option<&'static str>);
        let jo = Keys::new(Some("m1"), Some("jo@example.com"), Some("Jo"));
        let table: [(Known, bool); 12] = [
            ((Some("m1"), Some("other@example.com"), Some("kim")), true),
            ((Some("m2"), Some("jo@example.com"), Some("jo")), false),
            ((None, Some("JO@example.com "), None), true),
            ((None, Some("jo@example.com"), Some("kim")), true),
            ((None, Some("jo_example.com#EXT#@tenant.example"), None), true),
            // A name in the app never outvotes a different email.
            ((None, Some("kim@example.com"), Some("jo")), false),
            ((None, Some("kim@example.com"), Some("jo@example.com")), false),
            ((None, None, Some("JO")), true),
            ((None, None, Some("jo@example.com")), true),
            ((None, None, Some("kim")), false),
            // The app may show as the email what Cerby knows as the name in the app.
            ((None, Some("jo"), None), true),
            ((None, Some("\u{200b}"), Some(" ")), false),
        ];
        for ((id, email, username), expected) in table {
            let entry = Keys::new(id, email, username);
            assert_eq!(jo.are_of(&entry), expected, "{entry:?}");
        }
    }

    /// A person whose name has letters that are easily mistaken for each other, each of them one letter in the normal
    /// form.
    fn person() -> impl Strategy<Value = String> {
        let letter = select(vec!["a", "ä", "а", "o", "ö", "ø", "ß", "s", "i", "ı", "σ", "1", "."]);
        let local = prop::collection::vec(letter, 1..4).prop_map(|letters| letters.concat());
        let domain = select(vec!["müller.example", "muller.example", "example.com", "例え.jp"]);
        (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"))
    }

    /// The same person, as another app writes them.
    fn spelled(person: &str, ways: &[u8]) -> String {
        let (local, domain) = person.split_once('@').unwrap_or_default();
        let way = |at: usize, kinds: u8| ways.get(at % ways.len()).map_or(0, |way| way % kinds);
        let is_one_letter = |c: char| c.to_uppercase().flat_map(char::to_lowercase).eq([c]);
        let mut spelled = ["", " ", "\u{a0}\t", "\u{feff}"][usize::from(way(0, 4))].to_owned();
        for (at, c) in local.chars().enumerate() {
            match way(at, 4) {
                0 if is_one_letter(c) => spelled.extend(c.to_uppercase()),
                1 => spelled.extend([c, '\u{200d}']),
                2 => spelled.extend(['\u{ad}', c]),
                _ => spelled.push(c),
            }
        }
        let domain = match way(1, 4) {
            0 => domain.to_uppercase(),
            1 => idna::domain_to_ascii(domain).unwrap_or_default(),
            2 => format!("{domain}."),
            _ => domain.to_owned(),
        };
        match way(2, 4) {
            0 => {
                let nfd = DecomposingNormalizerBorrowed::new_nfd();
                nfd.normalize(&format!("{spelled}@{domain}")).into_owned()
            }
            1 => format!("{spelled}@{domain} \u{200b}\n"),
            2 if !domain.ends_with('.') => format!("{spelled}_{domain}#EXT#@tenant.example"),
            _ => format!("{spelled}@{domain}"),
        }
    }

    proptest! {
        #[test]
        fn one_person_stays_one_in_every_spelling_and_two_never_become_one(
            one in person(),
            other in person(),
            ways in prop::collection::vec(any::<u8>(), 3..8),
            more in prop::collection::vec(any::<u8>(), 3..8),
        ) {
            let (first, second) = (spelled(&one, &ways), spelled(&other, &more));
            prop_assert_eq!(normal(&first), normal(&one), "{:?}", first);
            prop_assert_eq!(normal(&first) == normal(&second), one == other, "{:?} {:?}", first, second);
        }

        #[test]
        fn a_normal_form_is_its_own_and_that_of_every_case_and_composition(name in any::<String>()) {
            let form = normal(&name);
            prop_assert_eq!(normal(&form), form.clone());
            let nfd = DecomposingNormalizerBorrowed::new_nfd();
            let (apart, lower) = (nfd.normalize(&name), name.to_lowercase());
            prop_assert_eq!(normal(&apart), form.clone());
            prop_assert_eq!(normal(&lower), form);
        }

        #[test]
        fn a_directory_finds_whom_reading_every_entry_would_find(
            entries in prop::collection::vec(
                (
                    proptest::option::of(select(vec!["1", "2"])),
                    proptest::option::of(select(vec!["a@x.y", "B@x.y"])),
                    proptest::option::of(select(vec!["a", "b", "b@x.y"])),
                ),
                1..8,
            ),
            asked in 0_usize..8,
        ) {
            let keys = |(id, email, username): &(Option<&'static str>, _, _)| Keys::new(*id, *email, *username);
            let asked = keys(&entries[asked % entries.len()]);
            let directory: Directory<'_, usize> =
                entries.iter().enumerate().map(|(place, entry)| (keys(entry), place)).collect();
            for rule in [Keys::fit, Keys::are_of] {
                let found = directory.find(&asked, |entry| rule(&asked, entry));
                let all = entries.iter().enumerate().filter(|(_, entry)| rule(&asked, &keys(entry)));
                prop_assert_eq!(found.into_iter().copied().collect::<Vec<_>>(), all.map(|(at, _)| at).collect::<Vec<_>>());
            }
        }
    }
}
