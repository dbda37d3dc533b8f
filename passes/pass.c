#include "pass.h"
#include <stdarg.h>

bool sn_pass_rewrite(Pass *pass) {
    if (pass->status || *pass->spent >= pass->limit) return false;
    ++*pass->spent;
    ++pass->rewrites;
    return true;
}

void sn_pass_remark(Pass *pass, const Origin *origin, bool done, const char *format, ...) {
    Arena *arena = pass->remarks->arena;
    Text text = sn_text(arena);
    va_list args;
    va_start(args, format);
    sn_text_addv(&text, format, args);
    va_end(args);
    Remark remark = {pass->name, origin, done, sn_text_string(&text)};
    sn_push(arena, &pass->remarks->list, remark);
}
