// How the agent gives way to the services of its host.
#pragma once

namespace agent::app {

// Makes the calling thread, and every thread and process it starts from now on, as nice as told (0
// to 19; one that is nicer already stays so) and short in its turns. What the kernel refuses is
// logged and does no harm.
void stand_back(int nice);

} // namespace agent::app
