//! Whom a campaign writes to.
//!
//! Draws one recipient with the ids and addresses that a real one would have; what happens to the message is the
//! campaign's business.

use super::Script;
use super::dice::Dice;

/// Recipients of pushes among all, where no channel is asked for: a push blast is the larger of the two.
const PUSH_SHARE: f64 = 0.6;

/// Campaigns that one project has under way.
const CAMPAIGNS: u64 = 8;

/// Recipients whom the customer's own system knows by an id.
const KNOWN_USERS: f64 = 0.8;

/// Messages sent by a trigger (a journey's step, a transaction) and not by a schedule.
const TRIGGERED: f64 = 0.5;

/// First names for addresses.
const FIRST_NAMES: [&str; 8] =
    ["ada", "bela", "chiara", "dmitri", "elif", "farid", "grete", "hana"];

/// Last names for addresses.
const LAST_NAMES: [&str; 8] =
    ["abel", "brunswick", "castellano", "dubois", "eriksen", "fukuda", "garcia", "horvath"];

/// Whom a message was sent to.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) project: String,
    pub(super) channel: String,
    pub(super) campaign_id: u64,
    pub(super) profile_id: u64,
    pub(super) device_id: Option<u64>,
    pub(super) trigger_id: Option<u64>,
    pub(super) user_id: Option<String>,
    pub(super) email: Option<String>,
}

impl Recipient {
    pub(super) fn draw(script: &Script, dice: &mut Dice) -> Self {
        let project = dice.pick(&script.projects).clone();
        let drawn = if dice.happens(PUSH_SHARE) { "mobile_push" } else { "email" };
        let channel = script.channel.clone().unwrap_or_else(|| drawn.to_owned());
        let profile_id = 90_000_000 + dice.below(10_000_000);
        let on_device = matches!(&*channel, "mobile_push" | "web_push" | "in_app");
        let email = format!(
            "{}.{}{}@example.com",
            dice.pick(&FIRST_NAMES),
            dice.pick(&LAST_NAMES),
            dice.below(1000)
        );
        let has_email = channel == "email" || dice.happens(0.5);
        Self {
            project,
            campaign_id: 245_600 + dice.below(CAMPAIGNS),
            profile_id,
            device_id: on_device.then(|| 17_000_000 + dice.below(1_000_000)),
            trigger_id: dice.happens(TRIGGERED).then(|| 21_714_000 + dice.below(CAMPAIGNS)),
            user_id: dice.happens(KNOWN_USERS).then(|| format!("crm-{}", profile_id % 1_000_000)),
            email: has_email.then_some(email),
            channel,
        }
    }
}
