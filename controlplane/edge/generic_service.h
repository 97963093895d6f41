// Serves any RPC by its descriptor. Internal to grpc_server.cpp.
#pragma once

#include "controlplane/edge/dispatch.h"
#include "controlplane/edge/workers.h"

#include <boost/asio/io_context.hpp>
#include <grpcpp/generic/async_generic_service.h>

#include <atomic>

namespace controlplane::edge {

class GenericService final : public grpc::CallbackGenericService {
 public:
  // Streams wait between polls on timers of `timers`.
  GenericService(const Dispatch& dispatch, Workers& workers, boost::asio::io_context& timers)
      : dispatch_(dispatch), workers_(workers), timers_(timers) {}

  grpc::ServerGenericBidiReactor*
  CreateReactor(grpc::GenericCallbackServerContext* context) override;
  // Open streams end with UNAVAILABLE at their next poll.
  void drain() { draining_ = true; }

  const Dispatch& dispatch() const { return dispatch_; }
  Workers& workers() { return workers_; }
  boost::asio::io_context& timers() { return timers_; }
  bool draining() const { return draining_; }
  std::atomic<size_t>& streams() { return streams_; }

 private:
  const Dispatch& dispatch_;
  Workers& workers_;
  boost::asio::io_context& timers_;
  std::atomic<bool> draining_ = false;
  std::atomic<size_t> streams_ = 0;
};

} // namespace controlplane::edge
