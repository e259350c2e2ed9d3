# cmake -DNM=... -DOBJECTS=a.o,b.o -P check_symbols.cmake: fails if the objects define weak symbols,
# which the linker could make everybody's, whatever instruction set they were compiled for.
string(REPLACE "," ";" objects "${OBJECTS}")
execute_process(COMMAND ${NM} --defined-only -C ${objects} OUTPUT_VARIABLE symbols
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]* [VWu] [^\n]*" weak "${symbols}")
if(weak)
  list(JOIN weak "\n" weak)
  message(FATAL_ERROR "weak symbols in src/cpu/isa:\n${weak}")
endif()
