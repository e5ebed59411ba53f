//! What may stand in a line of a file for something else: `{{ NAME }}`, and `{% if NAME %} … {% else %} … {% endif %}`.

/// In steps and titles.
pub(super) const OF_MEMBERS: [&str; 7] =
    ["member", "who", "email", "roles", "app", "workspace", "integration"];

/// In steps and titles of actions that are about no member.
pub(super) const OF_LOGINS: [&str; 3] = ["app", "workspace", "integration"];

/// In links.
pub(super) const OF_LINKS: [&str; 2] = ["workspace", "integration"];

/// Refuses whatever is not one of the known names, or cannot be read.
pub(super) fn check(line: &str, known: &[&str]) -> Result<(), String> {
    let mut rest = line;
    while let Some(at) = rest.find('{') {
        let tag = &rest[at..];
        let (end, is_name) = match tag.as_bytes().get(1) {
            Some(b'{') => ("}}", true),
            Some(b'%') => ("%}", false),
            Some(b'#') => return Err("has a comment, {#: remove it".to_owned()),
            _ => {
                rest = &tag[1..];
                continue;
            }
        };
        let inner = &tag[2..];
        let stop = inner.find(end).ok_or_else(|| {
            format!("has a {} without {end}: close it on the same line", &tag[..2])
        })?;
        let words: Vec<_> = inner[..stop].split_whitespace().collect();
        match (is_name, words.as_slice()) {
            (true, [name]) | (false, ["if", name]) => known_name(name, known)?,
            (true, _) => return Err(format!("{{{{{}}}}} is no single name", &inner[..stop])),
            (false, ["else"] | ["endif"]) => {}
            (false, _) => {
                return Err(format!(
                    "{{%{}%}} may not be used: only {{% if NAME %}}, {{% else %}} and {{% endif %}}",
                    &inner[..stop]
                ));
            }
        }
        rest = &inner[stop + end.len()..];
    }
    Ok(())
}

fn known_name(name: &str, known: &[&str]) -> Result<(), String> {
    match known.contains(&name) {
        true => Ok(()),
        false => {
            Err(format!("there is no placeholder {name:?}: here there are {}", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_conditions_are_known_and_everything_else_is_refused() {
        for good in [
            "no placeholder, { and {action}",
            "Remove {{ who }} from {{app}}",
            "Invite{% if roles %} as {{ roles }}{% else %} as a guest{% endif %}",
        ] {
            assert_eq!(check(good, &OF_MEMBERS), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("{{ usr }}", "no placeholder \"usr\": here there are member"),
            ("{% if usr %}x{% endif %}", "no placeholder \"usr\""),
            ("{{ who", "{{ without }}"),
            ("{% if roles", "{% without %}"),
            ("{{ who | upper }}", "is no single name"),
            ("{{ 1 }}", "no placeholder \"1\""),
            ("{{ }}", "is no single name"),
            ("{% include 'why' %}", "may not be used"),
            ("{% for i in range(9) %}x{% endfor %}", "may not be used"),
            ("{# x #}", "comment"),
        ] {
            let told = check(bad, &OF_MEMBERS).unwrap_err();
            assert!(told.contains(why), "{bad}: {told}");
        }
        assert!(check("{{ email }}", &OF_LINKS).is_err(), "a link names nobody");
    }
}
