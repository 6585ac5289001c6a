//! A project's connections, filtered, in the order of their names, page by page.
//!
//! The cursor says behind which name and id the next page begins, so that a page stays right when connections come and
//! go in between.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{ConnectionView, of_row};
use crate::engine::catalog::Catalog;
use crate::engine::connection::ConnectionKey;
use crate::engine::table::{ConnectionTable, Lookup, Row};

/// The most connections on a page.
pub const MAX_LIMIT: usize = 500;
/// Connections on a page where nobody says.
pub const DEFAULT_LIMIT: usize = 50;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Only those in this status.
    pub status: Option<StatusFilter>,
    /// Only those with this in their name, id or URL's origin, whatever the case.
    pub text: String,
    /// The most that are wanted.
    pub limit: usize,
    /// The end of the page before.
    pub cursor: Option<Cursor>,
}

/// Which connections are wanted, by their effective status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StatusFilter {
    /// Delivered to.
    Active,
    /// Stopped by a user or by the service.
    Inactive,
    /// No record of it can be read.
    Unreadable,
}

/// A part of a project's connections.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page {
    /// In the order of their names.
    pub connections: Vec<ConnectionView>,
    /// How many match over all pages.
    pub total: usize,
    /// What to ask for the next page with; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A place between two connections: behind this name in lower case, and this id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(String, String);

impl Cursor {
    /// Reads what [`Page::next_cursor`] was.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (name, id) = std::str::from_utf8(&bytes).ok()?.split_once('\0')?;
        Some(Self(name.to_owned(), id.to_owned()))
    }

    fn of(key: &ConnectionKey, row: &Row) -> Self {
        let name = row.known().map_or_else(String::new, |known| known.name.to_lowercase());
        Self(name, key.connection().to_owned())
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}\0{}", self.0, self.1))
    }
}

/// The page that is asked for.
pub(super) fn page(
    table: &ConnectionTable,
    project: &str,
    listing: &Listing,
    catalog: &Catalog,
) -> Page {
    let text = listing.text.trim().to_lowercase();
    let mut found: Vec<_> = table
        .project(project)
        .filter(|(_, row)| row.is_there())
        .filter(|(_, row)| listing.status.is_none_or(|status| is_in(row, status)))
        .filter(|(key, row)| text.is_empty() || mentions(key, row, &text))
        .map(|(key, row)| (Cursor::of(key, row), key, row))
        .collect();
    let total = found.len();
    found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let begin = listing
        .cursor
        .as_ref()
        .map_or(0, |cursor| found.partition_point(|(place, ..)| place <= cursor));
    let rest = &found[begin..];
    let shown = &rest[..rest.len().min(listing.limit)];
    let next_cursor = match shown.last() {
        Some((place, ..)) if shown.len() < rest.len() => Some(place.text()),
        Some(_) | None => None,
    };
    let connections = shown.iter().map(|(_, key, row)| of_row(key, row, catalog)).collect();
    Page { connections, total, next_cursor }
}

fn is_in(row: &Row, status: StatusFilter) -> bool {
    match row.lookup() {
        Lookup::Active(_) => status == StatusFilter::Active,
        Lookup::Inactive => status == StatusFilter::Inactive,
        Lookup::Unreadable(_) => status == StatusFilter::Unreadable,
        Lookup::Missing => false,
    }
}

fn mentions(key: &ConnectionKey, row: &Row, text: &str) -> bool {
    let has = |part: &str| part.to_lowercase().contains(text);
    has(key.connection())
        || row.known().is_some_and(|known| has(&known.name) || has(known.endpoint.origin()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::connection::Filter;
    use crate::engine::fixtures::{catalog, connection, unreadable};
    use crate::engine::table::Entry;

    fn table(count: u32) -> ConnectionTable {
        let mut table = ConnectionTable::default();
        for number in 0..count {
            let mut one = connection(&format!("1/c{number}"));
            if number % 2 == 1 {
                one = one.inactive();
            }
            let mut one = one.build();
            one.name =
                format!("{} {number:05}", if number % 3 == 0 { "Crm" } else { "audit" }).into();
            table.put(&one.key.clone(), Entry::Known(Arc::new(one)));
        }
        let broken = ConnectionKey::parse("1/broken").unwrap();
        table.put(&broken, unreadable(Filter::EVERYTHING));
        table
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.connections.iter().map(|one| one.connection_id.as_str()).collect()
    }

    #[test]
    fn pages_are_whole_and_in_the_order_of_names() {
        let (table, catalog) = (table(7), catalog());
        let mut listing = Listing { limit: 3, ..Listing::default() };
        let mut found = Vec::new();
        loop {
            let page = page(&table, "1", &listing, &catalog);
            assert_eq!(page.total, 8);
            found.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(next) = page.next_cursor else { break };
            listing.cursor = Some(Cursor::parse(&next).unwrap());
        }
        assert_eq!(found, ["broken", "c1", "c2", "c4", "c5", "c0", "c3", "c6"]);
    }

    #[test]
    fn a_filter_is_by_effective_status_and_text() {
        let (table, catalog) = (table(7), catalog());
        let ask = |status, text: &str| {
            let listing = Listing { status, text: text.to_owned(), limit: 50, cursor: None };
            page(&table, "1", &listing, &catalog).total
        };
        assert_eq!(ask(Some(StatusFilter::Active), ""), 4);
        assert_eq!(ask(Some(StatusFilter::Inactive), "CRM"), 1);
        assert_eq!(ask(Some(StatusFilter::Unreadable), ""), 1);
        assert_eq!((ask(None, "hooks.example"), ask(None, "campaigns")), (7, 0));
        assert_eq!(page(&table, "2", &Listing::default(), &catalog).total, 0);
    }

    #[test]
    fn a_cursor_from_elsewhere_is_none() {
        assert_eq!(Cursor::parse("?"), None);
        assert_eq!(Cursor::parse(&URL_SAFE_NO_PAD.encode("no id")), None);
    }
}
