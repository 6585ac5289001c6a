//! The rules of the dispatcher, one by one, and then all at once in a simulated world.

mod breakers;
mod handovers;
mod hindrances;
mod hosts;
mod rig;
mod simulation;
mod verdicts;
mod world;
