//! `generate`: continue a prompt.

use std::io::Write;
use std::ops::ControlFlow;

use models::NewToken;
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, Seeds, device};
use tasks::{Decoding, Dtype, Strategy};

use super::use_threads;
use crate::cli::GenerateArgs;
use crate::config::{parse_dtype, parse_quantization};
use crate::session::{Session, storage_of};
use crate::{Result, adapter, evaluate, interrupt};

pub(super) fn execute(args: &GenerateArgs) -> Result<()> {
    use_threads(args.model.threads);
    let dtype = args.model.dtype.as_deref().map_or(Ok(Dtype::F32), parse_dtype)?;
    let quantize = args.model.quantize.as_deref().map_or(Ok(None), parse_quantization)?;
    let name = args.model.model.as_deref().unwrap_or("builtin:mini");
    let mut session = Session::load(name, dtype, device::parse(&args.model.device)?, false)?;
    if let Some(folder) = &args.adapter {
        let file = AdapterFile::read(folder)?;
        let (attachment, ..) = adapter::attach(&mut session.learner, "default", &file, quantize)?;
        session.learner.activate(&attachment.active());
        session.learner.merge();
    } else {
        session.learner.store(storage_of(quantize));
    }
    let strategy = if args.temperature > 0.0 {
        Strategy::Sample { temperature: args.temperature, top_p: args.top_p }
    } else {
        Strategy::Greedy
    };
    let decoding = Decoding { strategy, max_new_tokens: args.max_new_tokens, stop: args.stop.clone() };
    let mut prompt: Vec<u32> = session.text.tokenizer.bos().into_iter().collect();
    prompt.extend(session.text.tokenizer.encode(&args.prompt)?);

    let mut out = std::io::stdout();
    let _ = write!(out, "{}", args.prompt);
    let mut stream = session.text.decoder.stream();
    let mut failure = None;
    let mut show = |new: &NewToken<'_>| {
        if session.text.end_tokens.contains(&new.token) {
            return ControlFlow::Continue(());
        }
        match stream.push(new.token) {
            // Whoever read this has gone.
            Ok(text) if write!(out, "{text}").and_then(|()| out.flush()).is_err() => {
                return ControlFlow::Break(());
            }
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
        interrupt::flow()
    };
    let seeds = Seeds::new(args.seed);
    evaluate::generate(&session.learner, &session.text, &decoding, &[prompt], &seeds, &mut show)?;
    let _ = writeln!(out);
    failure.map_or(Ok(()), |error| Err(error.into()))
}
