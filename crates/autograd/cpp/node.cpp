// A libtorch autograd node whose backward is a callback. The Rust side owns `state` through `Table`.
//
// Ownership: tensors cross the boundary as `at::Tensor*` created with `new`; whoever receives one frees it.
// No exception leaves `autograd_attach`; no unwinding enters `backward` (the callback reports by `Sink`).

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

using torch::autograd::Node;
using torch::autograd::variable_list;

struct Sink {
  std::string message;
};

struct Table {
  const char* name;
  // Fills `outputs` (one slot per input of the function, null = no gradient). Returns 0 or, after
  // writing to `sink`, 1.
  int (*backward)(const void* state, at::Tensor** grads, size_t n_grads, const uint8_t* needs,
                  at::Tensor** outputs, size_t n_outputs, Sink* sink);
  void (*drop)(void* state);
};

namespace {

struct CallbackNode : public Node {
  CallbackNode(void* state, Table table, size_t n_inputs)
      : state_(state), table_(table), name_(table.name), n_inputs_(n_inputs) {}

  ~CallbackNode() override { release(); }

  std::string name() const override { return name_; }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(state_mutex_);
    release();
  }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(state_mutex_);
    TORCH_CHECK(state_ != nullptr, name_, ": backward ran a second time, but what it saved was already released; ",
                "keep the graph (`run_backward` with keep_graph) to run it again");
    TORCH_CHECK(!at::GradMode::is_enabled(), name_,
                ": a custom backward is not differentiable again (double backward); drop create_graph");

    std::vector<at::Tensor*> in(grads.size(), nullptr);
    for (size_t i = 0; i < grads.size(); ++i)
      if (grads[i].defined()) in[i] = new at::Tensor(std::move(grads[i]));
    std::vector<uint8_t> needs(n_inputs_);
    for (size_t i = 0; i < n_inputs_; ++i) needs[i] = task_should_compute_output(i);

    std::vector<at::Tensor*> out(n_inputs_, nullptr);
    Sink sink;
    const int failed =
        table_.backward(state_, in.data(), in.size(), needs.data(), out.data(), out.size(), &sink);
    variable_list result(n_inputs_);
    for (size_t i = 0; i < n_inputs_; ++i) {
      std::unique_ptr<at::Tensor> owned(out[i]);
      if (owned && needs[i]) result[i] = std::move(*owned);
    }
    TORCH_CHECK(!failed, name_, ": ", sink.message);
    return result;
  }

 private:
  void release() {
    if (state_ != nullptr) table_.drop(state_);
    state_ = nullptr;
  }

  void* state_;
  Table table_;
  std::string name_;
  size_t n_inputs_;
  std::mutex state_mutex_;
};

}  // namespace

extern "C" {

void autograd_write(Sink* sink, const char* text, size_t length) { sink->message.assign(text, length); }

const char* autograd_read(const Sink* sink) { return sink->message.c_str(); }

Sink* autograd_sink_new() { return new Sink(); }

void autograd_sink_free(Sink* sink) { delete sink; }

bool autograd_grad_mode() { return at::GradMode::is_enabled(); }

bool autograd_same(const at::Tensor* a, const at::Tensor* b) { return a->is_same(*b); }

// Makes `outputs` the results of one node fed by `inputs`. Takes `state` in every case.
// Returns 0, or 1 after writing the reason to `sink`.
int autograd_attach(void* state, Table table, at::Tensor* const* inputs, size_t n_inputs,
                    at::Tensor* const* outputs, size_t n_outputs, Sink* sink) {
  std::shared_ptr<CallbackNode> node(new CallbackNode(state, table, n_inputs), torch::autograd::deleteNode);
  try {
    variable_list fed;
    fed.reserve(n_inputs);
    for (size_t i = 0; i < n_inputs; ++i) fed.push_back(*inputs[i]);
    node->set_next_edges(torch::autograd::collect_next_edges(fed));
    for (size_t i = 0; i < n_outputs; ++i) {
      if (torch::autograd::isDifferentiableType(outputs[i]->scalar_type())) {
        torch::autograd::set_history(*outputs[i], node);
      } else {
        node->add_input_metadata(Node::undefined_input());
      }
    }
    return 0;
  } catch (const std::exception& error) {
    sink->message = error.what();
    return 1;
  }
}
}
