#include "faults.h"

#include <map>
#include <mutex>
#include <stdlib.h>
#include <string.h>
#include <string>

static std::mutex mutex;
static std::string text; /* as it was read last */
static std::map<std::string, long> settings, counts;

static void read_text(const char *now) {
    text = now;
    settings.clear();
    counts.clear();
    for (const char *at = now; *at;) {
        const char *equals = strchr(at, '='), *end = at + strcspn(at, ",");
        if (equals && equals < end) settings[std::string(at, equals)] = strtol(equals + 1, NULL, 0);
        at = end + (*end == ',');
    }
}

static void refresh() {
    const char *now = getenv("SINTER_EMULATOR");
    if (text != (now ? now : "")) read_text(now ? now : "");
}

long emu_setting(const char *name, long otherwise) {
    std::lock_guard<std::mutex> lock(mutex);
    refresh();
    return settings.count(name) ? settings[name] : otherwise;
}

bool emu_planted(const char *name) {
    std::lock_guard<std::mutex> lock(mutex);
    refresh();
    return settings.count(name) && ++counts[name] == settings[name];
}
