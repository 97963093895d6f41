#include "controlplane/service/fleet.h"

#include "controlplane/store/processes.h"

namespace controlplane::service {

base::Result<sonde::v1::ListProcessesResponse> list_processes(
    const model::Caller&, const sonde::v1::ListProcessesRequest& request, Services& services) {
  return services.pool.transaction(
      [&](store::Transaction& tx) { return store::list_processes(tx, request); });
}

} // namespace controlplane::service
