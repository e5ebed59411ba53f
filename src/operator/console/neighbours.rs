//! The actions before and after one in the list from which somebody came.

use super::Console;
use super::access::SignedIn;
use super::filter::Chosen;
use super::form::Form;
use super::list::PAGE;
use crate::manual_action::review::ActionFilter;
use crate::operator::desk::DeskError;
use crate::text::encoded;

#[derive(Debug)]
pub(super) struct Neighbours {
    /// The filter of the list and the place of its page, as its address has them.
    pub(super) list: String,
    pub(super) previous: Option<i64>,
    pub(super) next: Option<i64>,
}

impl Neighbours {
    /// On the page of the list as it is now. An action that has left the list has none before it, and the first of the page
    /// comes next. `None` for who did not come from a list, or from an address that is none.
    pub(super) async fn of(
        console: &Console,
        signed_in: &SignedIn,
        id: i64,
        list: Option<&str>,
    ) -> Result<Option<Self>, DeskError> {
        let Some((list, chosen)) = list.and_then(chosen) else { return Ok(None) };
        let (desk, actor) = (&console.desk, &signed_in.0.actor);
        let lines = desk.actions(actor, chosen.filter(PAGE)).await?;
        let ids: Vec<_> = lines.iter().map(|line| line.id).collect();
        let (previous, mut next) = around(&ids, id);
        if next.is_none() && ids.len() >= PAGE as usize {
            let filter = ActionFilter { after: Some(id), ..chosen.filter(1) };
            next = desk.actions(actor, filter).await?.first().map(|line| line.id);
        }
        Ok(Some(Self { list, previous, next }))
    }

    /// The list in an address.
    pub(super) fn encoded(&self) -> String {
        encoded(&self.list)
    }
}

fn chosen(list: &str) -> Option<(String, Chosen)> {
    let form = Form::parse(list.as_bytes()).ok()?;
    let chosen = Chosen::of(&form).ok()?;
    Some((chosen.here(), chosen))
}

fn around(ids: &[i64], id: i64) -> (Option<i64>, Option<i64>) {
    match ids.iter().position(|one| *one == id) {
        Some(at) => {
            let previous = at.checked_sub(1).and_then(|at| ids.get(at));
            (previous.copied(), ids.get(at + 1).copied())
        }
        None => (None, ids.first().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_the_list_and_whoever_left_it_goes_on_at_its_start() {
        let ids = [7, 3, 9];
        assert_eq!(around(&ids, 7), (None, Some(3)));
        assert_eq!(around(&ids, 3), (Some(7), Some(9)));
        assert_eq!(around(&ids, 9), (Some(3), None));
        assert_eq!(around(&ids, 4), (None, Some(7)));
        assert_eq!(around(&[], 4), (None, None));
    }

    #[test]
    fn an_address_that_is_no_list_has_no_neighbours() {
        assert!(chosen("status=open&cursor=37").is_some());
        assert_eq!(chosen("").unwrap().0, "status=unfinished", "the list without a filter");
        assert_eq!(chosen("x=%22%3E&status=open&cursor=37").unwrap().0, "status=open&cursor=37");
        for odd in ["status=odd", "cursor=x", "member=%00"] {
            assert!(chosen(odd).is_none(), "{odd}");
        }
    }
}
