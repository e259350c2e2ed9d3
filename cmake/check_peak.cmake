# cmake -DOBJDUMP=... -DOBJECTS=a.o,b.o -P check_peak.cmake: fails unless the loop that measures the
# multiply-add peak (peak.cpp) has all of the twelve that it counts. One that the compiler leaves out
# makes the peak a twelfth too high, and every share of it too low.
include(${CMAKE_CURRENT_LIST_DIR}/disassemble.cmake)
disassemble(peak.cpp)
string(FIND "${code}" "multiply_add" begin)
string(SUBSTRING "${code}" ${begin} -1 code)
string(FIND "${code}" "\n\n" end)  # of the function
string(SUBSTRING "${code}" 0 ${end} code)
string(REGEX MATCHALL "vfmadd" found "${code}")
list(LENGTH found count)
if(NOT count EQUAL 12)
  message(FATAL_ERROR "expected 12 multiply-adds in peak.cpp's loop, found ${count}, of ${OBJECTS}")
endif()
