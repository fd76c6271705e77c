#![doc = include_str!("../README.md")]

mod adaptable;
mod adapter;
mod attach;
mod checkpoint;
mod error;
mod gradients;
mod length;
mod method;
mod optimizer;
mod parameter;
mod params;
mod pattern;
mod phase;
mod role;
mod schedule;
mod seeds;
mod site;
mod slot;
mod state_dict;
mod targets;
mod weight;

pub mod device;
pub mod generator;
pub mod init;
pub mod linalg;
pub mod low_rank;
pub mod near;
pub mod nf4;
pub mod packed;
pub mod peft_file;
pub mod residual;
pub mod tensor_file;

pub use adaptable::{Active, Adaptable, Part};
pub use adapter::{Adapter, Base, Delta, Mode};
pub use attach::{Attachment, role_of_base};
pub use checkpoint::Checkpoint;
pub use error::{Error, Result};
pub use gradients::Gradients;
pub use length::Length;
pub use low_rank::LowRank;
pub use method::{
    Attached, Capabilities, FileTensors, Method, MethodInfo, ModelShape, Need, Paper, PeftFormat,
    PhaseContext, Place, Step, parse_settings, resolve_settings,
};
pub use nf4::Nf4;
pub use optimizer::{AdamW, AdamWConfig, Clip, StepReport};
pub use parameter::Parameter;
pub use params::{Entry, Kept, Param, ParamId, ParamStore, Params, Purpose, Saved};
pub use pattern::Patterned;
pub use phase::{Continuation, Phase};
pub use role::{Role, Roles};
pub use schedule::{Schedule, ScheduleKind, warmup_steps};
pub use seeds::Seeds;
pub use site::{Site, SiteShape};
pub use slot::{AdaptedLinear, Layout};
pub use state_dict::{StateDict, copy_strictly};
pub use targets::{Candidate, Modules, Targets};
pub use weight::{AsLoaded, Dense, FrozenWeight, Storage};
