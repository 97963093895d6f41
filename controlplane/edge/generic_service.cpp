#include "controlplane/edge/generic_service.h"

#include "controlplane/edge/limits.h"
#include "controlplane/edge/problem.h"
#include "controlplane/edge/reflection.h"

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <deque>

namespace controlplane::edge {
namespace {

namespace pb = google::protobuf;
using base::Result;

// Texts that PostgreSQL could not keep; that they are UTF-8 was checked by protobuf.
Result<> check_texts(const pb::Message& message) {
  const auto& reflection = *message.GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->type() == pb::FieldDescriptor::TYPE_STRING) {
        auto text = field->is_repeated() ? reflection.GetRepeatedString(message, field, i)
                                         : reflection.GetString(message, field);
        if (text.find('\0') != std::string::npos)
          return base::invalid_argument(
                     "WRONG_TYPE", field->json_name() + ": contains a NUL character")
              .at(field->json_name());
      } else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE) {
        TRY(check_texts(
            field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                 : reflection.GetMessage(message, field)));
      }
    }
  }
  return {};
}

Result<MessagePtr> decode(const pb::Message& prototype, grpc::ByteBuffer& bytes) {
  MessagePtr message(prototype.New());
  auto status =
      grpc::GenericDeserialize<grpc::ProtoBufferReader, pb::Message>(&bytes, message.get());
  if (!status.ok())
    return base::invalid_argument(
        "INVALID_MESSAGE",
        fmt::format("the request is no {}", prototype.GetDescriptor()->full_name()));
  TRY(check_texts(*message));
  return message;
}

// Answers at once; for what never becomes a call.
class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

// One RPC: reads a request, has a worker run it, writes the answer or, of a stream, one answer
// after the other. Steps follow each other (gRPC thread, worker, timer), so nothing here is locked;
// only `cancelled_` is set from aside.
class Call final : public grpc::ServerGenericBidiReactor,
                   public std::enable_shared_from_this<Call> {
 public:
  Call(GenericService& service, const Method& method, grpc::GenericCallbackServerContext& context)
      : service_(service), method_(method), credentials_(credentials_of(context)),
        timer_(service.timers()) {}

  void start() {
    self_ = shared_from_this();
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok)
      return fail(base::invalid_argument("INVALID_MESSAGE", "the call ended before its request"));
    bool posted = service_.workers().post([self = shared_from_this()] { self->run(); });
    if (!posted) fail(base::unavailable("OVERLOADED", "too many calls wait; try again"));
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return fail({base::Code::kCancelled, "CANCELLED", "the caller is gone", {}});
    write_next();
  }

  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { self_.reset(); }

 private:
  IncomingCall incoming() {
    return {method_, credentials_, "grpc", [this] { return decode(*method_.request, incoming_); }};
  }

  void run() {
    if (method_.streams()) return open();
    auto [response, request_id] = service_.dispatch().call(incoming());
    request_id_ = std::move(request_id);
    if (!response) return fail(response.error());
    if (!serialize(**response)) return fail(base::internal("the answer does not serialize"));
    StartWriteAndFinish(&outgoing_, {}, grpc::Status::OK);
  }

  void open() {
    if (service_.streams().fetch_add(1) >= kStreamsMax) {
      service_.streams().fetch_sub(1);
      return fail(
          {base::Code::kResourceExhausted,
           "TOO_MANY_STREAMS",
           fmt::format("{} streams are open already", kStreamsMax),
           {}});
    }
    stream_guard_ =
        std::shared_ptr<void>(nullptr, [&count = service_.streams()](void*) { --count; });
    auto [source, request_id] = service_.dispatch().open(incoming());
    request_id_ = std::move(request_id);
    if (!source) return fail(source.error());
    source_ = std::move(*source);
    poll();
  }

  // On a worker.
  void poll() {
    if (cancelled_) return fail({base::Code::kCancelled, "CANCELLED", "the caller is gone", {}});
    if (service_.draining())
      return fail(base::unavailable("SHUTTING_DOWN", "this replica is shutting down; come back"));
    auto batch = source_->poll();
    if (!batch) return fail(batch.error());
    for (auto& message : batch->messages) pending_.push_back(std::move(message));
    ended_ = batch->ended;
    write_next();
  }

  void write_next() {
    if (!pending_.empty()) {
      auto message = std::move(pending_.front());
      pending_.pop_front();
      if (!serialize(*message)) return fail(base::internal("an answer does not serialize"));
      return StartWrite(&outgoing_);
    }
    if (ended_) return Finish(grpc::Status::OK);
    timer_.expires_after(kStreamPollInterval);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code) {
      bool posted = self->service_.workers().post([self] { self->poll(); });
      if (!posted) self->write_next(); // waits another interval
    });
  }

  bool serialize(const pb::Message& message) {
    bool own_buffer = false;
    outgoing_.Clear();
    return grpc::GenericSerialize<grpc::ProtoBufferWriter, pb::Message>(
               message, &outgoing_, &own_buffer)
        .ok();
  }

  void fail(const base::Error& error) { Finish(to_grpc_status(error, request_id_)); }

  GenericService& service_;
  const Method& method_;
  const Credentials credentials_;
  boost::asio::steady_timer timer_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  std::string request_id_;
  std::unique_ptr<StreamSource> source_;
  std::shared_ptr<void> stream_guard_;
  std::deque<MessagePtr> pending_;
  bool ended_ = false;
  std::atomic<bool> cancelled_ = false;
  std::shared_ptr<Call> self_; // until OnDone
};

} // namespace

grpc::ServerGenericBidiReactor*
GenericService::CreateReactor(grpc::GenericCallbackServerContext* context) {
  if (is_reflection(context->method())) return reflect(dispatch_, credentials_of(*context));
  const auto* method = dispatch_.methods().find(context->method());
  if (!method || !dispatch_.serves(*method))
    return new Refusal(to_grpc_status(
        {base::Code::kUnimplemented,
         "NO_SUCH_METHOD",
         context->method() + " is no method of this server",
         {}},
        ""));
  auto call = std::make_shared<Call>(*this, *method, *context);
  call->start();
  return call.get();
}

} // namespace controlplane::edge
