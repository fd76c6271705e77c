//! Counters against work whose cost is known.

use autograd::{Counting, count};
use tch::{Device, Kind, Tensor};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

fn ones(shape: &[i64]) -> Tensor {
    Tensor::ones(shape, FLOAT)
}

#[test]
fn products_have_their_floating_point_operations() {
    let flops = |work: &dyn Fn() -> Tensor| count(work).1.flops;
    let (a, b, bias) = (ones(&[5, 7]), ones(&[7, 3]), ones(&[3]));
    assert_eq!(flops(&|| a.mm(&b)), 2 * 5 * 7 * 3);
    assert_eq!(flops(&|| a.mv(&ones(&[7]))), 2 * 5 * 7);
    assert_eq!(flops(&|| bias.addmm(&a, &b)), 2 * 5 * 7 * 3);
    let (a, b) = (ones(&[2, 5, 7]), ones(&[2, 7, 3]));
    assert_eq!(flops(&|| a.bmm(&b)), 2 * 2 * 5 * 7 * 3);
    assert_eq!(flops(&|| ones(&[2, 5, 3]).baddbmm(&a, &b, 1.0, 1.0)), 2 * 2 * 5 * 7 * 3);
    assert_eq!(flops(&|| ones(&[9]).dot(&ones(&[9]))), 2 * 9);
    assert_eq!(flops(&|| &a + 1.0), 0, "elements are not counted");
    // Rows that are folded into one product.
    assert_eq!(flops(&|| a.linear::<&Tensor>(&ones(&[4, 7]), Some(&ones(&[4])))), 2 * 2 * 5 * 7 * 4);
}

#[test]
fn attention_counts_its_products() {
    let (q, k) = (ones(&[2, 4, 6, 8]), ones(&[2, 4, 10, 8]));
    let q = q.set_requires_grad(true);
    let attend =
        || Tensor::scaled_dot_product_attention::<&Tensor>(&q, &k, &k, None, 0.0, false, None, false);
    let one = 2 * 2 * 4 * 6 * 10 * 8;
    let (y, forward) = count(attend);
    assert_eq!(forward.flops, 2 * one);
    let (_, backward) = count(|| Tensor::run_backward(&[y.sum(Kind::Float)], &[&q], false, false));
    assert_eq!(backward.flops, 5 * one, "the backward pass of this thread is seen");
}

#[test]
fn bytes_are_those_of_the_tensors() {
    let a = ones(&[256, 256]);
    let bytes = 4 * 256 * 256;
    let (_, one) = count(|| a.copy());
    assert_eq!((one.allocated_bytes, one.peak_bytes), (bytes, bytes));
    let ((), in_turn) = count(|| {
        for _ in 0..3 {
            drop(a.copy());
        }
    });
    assert_eq!((in_turn.allocated_bytes, in_turn.peak_bytes), (3 * bytes, bytes));
    let (_, at_once) = count(|| [a.copy(), a.copy(), a.copy()]);
    assert_eq!((at_once.allocated_bytes, at_once.peak_bytes), (3 * bytes, 3 * bytes));
    // Freeing what is older than the count takes nothing off it.
    let older = a.copy();
    let (_, after) = count(|| {
        drop(older);
        a.copy()
    });
    assert_eq!(after.peak_bytes, bytes);
}

#[test]
fn an_extra_copy_and_a_second_product_are_seen() {
    let (x, w) = (ones(&[8, 16]).set_requires_grad(true), ones(&[4, 16]));
    let step = |extra: bool, twice: bool| {
        count(|| {
            let x = if extra { x.copy() } else { x.shallow_clone() };
            if twice {
                let _ = x.matmul(&w.tr());
            }
            Tensor::run_backward(&[x.matmul(&w.tr()).sum(Kind::Float)], &[&x], false, false)
        })
        .1
    };
    let [plain, again] = [step(false, false), step(false, false)];
    assert_eq!(plain, again);
    let copied = step(true, false);
    assert_eq!(copied.flops, plain.flops);
    assert_eq!(copied.allocated_bytes, plain.allocated_bytes + 4 * 8 * 16);
    assert!(copied.total_operations() > plain.total_operations());
    assert_eq!(step(false, true).flops, plain.flops + 2 * 8 * 16 * 4);
}

#[test]
fn a_thread_counts_for_itself_and_only_once() {
    let counting = Counting::start();
    assert!(std::panic::catch_unwind(Counting::start).is_err(), "twice at a time");
    std::thread::spawn(|| drop(ones(&[64, 64]).copy())).join().unwrap();
    let _ = ones(&[2]) + 1.0;
    let counted = counting.stop();
    assert!(!counted.operations.contains_key("aten::clone"), "{counted:?}");
    // What is dropped without being asked ends as well.
    drop(Counting::start());
    let _ = ones(&[2]) + 1.0;
    assert_eq!(count(|| ()).1, autograd::Counters::default());
}
