/* A tuning file on disk: see ir/tuning.h for what stands in it. */
#ifndef SN_TUNING_FILE_H
#define SN_TUNING_FILE_H

#include "tuning.h"

/* SN_IO when it cannot be read, SN_INVALID as sn_tuning_parse. */
Status sn_tuning_read(Arena *arena, const char *path, Tuning **out);

#endif
