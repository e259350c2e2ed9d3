# cmake -DOBJDUMP=... -DOBJECTS=a.o,b.o -P check_spills.cmake: fails if a multiply-add of the tiles
# (gemm.cpp) takes an operand from the stack. One register too few costs a third of the speed.
string(REPLACE "," ";" objects "${OBJECTS}")
list(FILTER objects INCLUDE REGEX "/gemm\\.cpp")
if(NOT objects)
  message(FATAL_ERROR "no object of gemm.cpp in ${OBJECTS}")
endif()
execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${objects} OUTPUT_VARIABLE code
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "vfmadd[^\n]*\\(%r[sb]p[^\n]*" spills "${code}")
if(spills)
  list(LENGTH spills count)
  message(FATAL_ERROR "${count} multiply-adds read the stack in ${objects}")
endif()
