//! An event as the bytes of a record for the events topic, and the ways in which bytes can be none.

use serde::Serialize;

use super::dice::Dice;
use super::recipient::Recipient;

/// What providers say about a failure.
const ERROR_MESSAGES: [&str; 4] = [
    "550 5.1.1 user unknown",
    "device token is not registered",
    "mailbox full",
    "provider did not answer in time",
];

/// An event in the shape of the events topic.
#[derive(Serialize)]
pub(super) struct EventRecord<'a> {
    event_id: String,
    project_id: &'a str,
    pub(super) event: &'a str,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) campaign_stage: Option<&'a str>,
    pub(super) properties: EventProperties<'a>,
}

#[derive(Serialize)]
pub(super) struct EventProperties<'a> {
    pub(super) message_type: &'a str,
    campaign_id: u64,
    profile_id: u64,
    device_id: Option<u64>,
    trigger_id: Option<u64>,
    user_id: Option<&'a str>,
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
}

impl<'a> EventRecord<'a> {
    pub(super) fn new(
        recipient: &'a Recipient,
        event: &'a str,
        time: u64,
        dice: &mut Dice,
    ) -> Self {
        let failed = event == "message_failure";
        Self {
            event_id: dice.ulid(time),
            project_id: &recipient.project,
            event,
            time,
            campaign_stage: None,
            properties: EventProperties {
                message_type: &recipient.channel,
                campaign_id: recipient.campaign_id,
                profile_id: recipient.profile_id,
                device_id: recipient.device_id,
                trigger_id: recipient.trigger_id,
                user_id: recipient.user_id.as_deref(),
                email: recipient.email.as_deref(),
                error_message: failed.then(|| *dice.pick(&ERROR_MESSAGES)),
            },
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts under fixed names always serialise")
    }
}

/// Spoils an event in one of four ways.
pub(super) fn malform(mut value: Vec<u8>, way: u64) -> Vec<u8> {
    match way {
        0 => value.truncate(value.len() / 2),
        1 => value.insert(0, 0xff),
        2 => value = b"{\"event\":\"message_open\"}".to_vec(),
        _ => value = b"[]".to_vec(),
    }
    value
}
