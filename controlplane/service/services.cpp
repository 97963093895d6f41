#include "controlplane/service/services.h"

#include <google/protobuf/util/time_util.h>

namespace controlplane::service {

model::Timestamp now(const Services& services) {
  return google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
      services.clock.wall_time().count());
}

} // namespace controlplane::service
