/* Settings and planted faults of the emulated libraries: pairs NAME=NUMBER, joined by commas, in the environment
 * variable SINTER_EMULATOR (README.md lists them). It is read anew when its text has changed. */
#ifndef SN_EMULATOR_FAULTS_H
#define SN_EMULATOR_FAULTS_H

/* The number of a setting. */
__attribute__((visibility("hidden"))) long emu_setting(const char *name, long otherwise);

/* Counts one occurrence of what a fault can befall: true for the N-th since the text has changed, of NAME=N. */
__attribute__((visibility("hidden"))) bool emu_planted(const char *name);

#endif
