//! Updates in the slots of a model.

use peft_core::{
    Adaptable, Attached, Attachment, Delta, Error, LowRank, Method, Mode, Params, Place, Result, Seeds,
    Storage, Targets,
};
use tch::Tensor;

use crate::{Factors, Update, Updates};

/// Puts `updates` on the layers of `model` that they are for, as an adapter called `name` that does not train.
///
/// # Errors
/// If the model lacks a module, or has it in another size.
pub fn attach(
    model: &mut dyn Adaptable,
    name: &str,
    updates: Updates,
    storage: &dyn Storage,
) -> Result<Attachment> {
    let targets = Targets::names(updates.keys().cloned());
    Attachment::new(model, name, Box::new(Fixed(updates)), &targets, storage, &Seeds::new(0))
}

/// Every site has its update, and nothing trains.
#[derive(Debug)]
struct Fixed(Updates);

impl Method for Fixed {
    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let site = place.site;
        let update = self.0.remove(&site.name).expect("every target has an update");
        let size = [site.shape.out_features, site.shape.in_features];
        if update.size() != size {
            let reason = format!("the update is {:?}, the weight {size:?}", update.size());
            return Err(Error::site(&site.name, reason));
        }
        let here = |tensor: &Tensor| tensor.to_device(params.device());
        Ok(match update {
            Update::LowRank(Factors { b, a, scaling }) => {
                Attached::new(LowRank::new(here(&a), here(&b), scaling))
            }
            Update::Dense(update) => Attached::new(Whole(here(&update))),
        })
    }
}

/// `ΔW [out, in]` as it is.
#[derive(Debug)]
struct Whole(Tensor);

impl Delta for Whole {
    fn weight(&self) -> Tensor {
        self.0.shallow_clone()
    }

    fn apply(&self, x: &Tensor, _mode: Mode) -> Tensor {
        x.to_kind(self.0.kind()).matmul(&self.0.tr())
    }
}
