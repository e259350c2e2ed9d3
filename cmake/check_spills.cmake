# cmake -DOBJDUMP=... -DOBJECTS=a.o,b.o -P check_spills.cmake: fails if a multiply-add of the tiles
# (gemm.cpp) takes an operand from the stack. One register too few costs a third of the speed.
include(${CMAKE_CURRENT_LIST_DIR}/disassemble.cmake)
disassemble(gemm.cpp)
string(REGEX MATCHALL "vfmadd[^\n]*\\(%r[sb]p[^\n]*" spills "${code}")
if(spills)
  list(LENGTH spills count)
  message(FATAL_ERROR "${count} multiply-adds of gemm.cpp read the stack, of ${OBJECTS}")
endif()
