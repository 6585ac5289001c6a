//! What a page says of what was just done, or of why it was not.

/// A notice above a page.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    /// Its class.
    pub(super) tone: &'static str,
    pub(super) text: String,
    /// Where one goes from here, and what that is called.
    pub(super) link: Option<(String, &'static str)>,
}

impl Notice {
    /// After a redirect, which says in one word what was done.
    pub(super) fn after(done: Option<&str>) -> Option<Self> {
        let (tone, text) = match done? {
            "connected" => ("good", "Connected. Events that it wants are delivered from now on."),
            "again" => {
                ("warn", "This form was sent before; this is the connection that it has made.")
            }
            "saved" => ("good", "Saved. The next attempt uses it as it is now."),
            "unchanged" => ("", "There was nothing to change."),
            "activate" => ("good", "Activated. Events are delivered again."),
            "deactivate" => ("good", "Deactivated. No new attempt starts."),
            "delete" => ("good", "Deleted."),
            "written" => ("warn", "It is written, and will show here in a moment."),
            _ => return None,
        };
        Some(Self { tone, text: text.to_owned(), link: None })
    }

    /// That something was not done.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self { tone: "bad", text: text.into(), link: None }
    }
}
