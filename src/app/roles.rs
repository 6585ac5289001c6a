//! Which parts of the service an instance runs: deliveries, the admin API, the console.
//!
//! Says what goes with what; `app` leaves out the rest.

/// A part of the service that can run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read events and retries, and deliver.
    Deliver,
    /// Serve the admin API.
    Api,
    /// Serve the console, and the API beside it.
    Console,
}

/// The roles of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It is a member of the groups.
    pub(super) delivers: bool,
    /// It listens on `admin.listen`.
    pub(super) has_api: bool,
    /// It serves pages there, too.
    pub(super) has_console: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self { delivers: true, has_api: true, has_console: true };

    /// These; all of them where none is named.
    #[must_use]
    pub fn of(roles: &[Role]) -> Self {
        if roles.is_empty() {
            return Self::ALL;
        }
        let has_console = roles.contains(&Role::Console);
        Self {
            delivers: roles.contains(&Role::Deliver),
            has_api: has_console || roles.contains(&Role::Api),
            has_console,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_named_is_all_and_a_console_has_its_api() {
        assert_eq!(Roles::of(&[]), Roles::ALL);
        assert_eq!(Roles::of(&[Role::Deliver, Role::Console]), Roles::ALL);
        let worker = Roles { delivers: true, has_api: false, has_console: false };
        assert_eq!(Roles::of(&[Role::Deliver]), worker);
        let api = Roles { delivers: false, has_api: true, has_console: false };
        assert_eq!(Roles::of(&[Role::Api]), api);
    }
}
